package conformance

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/vpcsim"
)

// agree checks that the store has the addresses which the cloud has assigned, and returns how many there are.
func (m *machine) agree(t *testing.T) int {
	t.Helper()
	var assigned, known []netip.Addr
	m.lab.VPC.Wait()
	for _, e := range m.lab.VPC.ENIs(m.InstanceID) {
		assigned = append(assigned, e.Secondary...)
	}
	for ip := range m.pool(t) {
		known = append(known, ip)
	}
	slices.SortFunc(assigned, netip.Addr.Compare)
	slices.SortFunc(known, netip.Addr.Compare)
	if diff := cmp.Diff(assigned, known, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("the cloud and the store differ (-cloud +store):\n%s", diff)
	}
	return len(known)
}

// trouble is something that keeps an ADD from getting an address.
type trouble struct {
	code  uint
	words []string
	conf  func(conf) conf                  // nil where the configuration is right
	call  func(t *testing.T, c chain.Call) // nil where the environment is
	begin func(t *testing.T, m *machine)
	end   func(t *testing.T, m *machine)
}

// inject is the trouble of an API that refuses.
func inject(code uint, f vpcsim.Fault, words ...string) trouble {
	f.Times = -1
	return trouble{
		code: code, words: append(words, f.Code),
		begin: func(_ *testing.T, m *machine) { m.lab.VPC.Inject(f) },
		end:   func(_ *testing.T, m *machine) { m.lab.VPC.ClearFaults() },
	}
}

// resting is the trouble of something that is full. All processes let it rest for minutes, and an operator who knows better
// wakes it.
func resting(code uint, f vpcsim.Fault, words ...string) trouble {
	tr := inject(code, f, words...)
	tr.conf = func(c conf) conf { return c.with(2, "ipam", "maxENIs") } // else another ENI would be made
	clear := tr.end
	tr.end = func(t *testing.T, m *machine) {
		t.Helper()
		clear(t, m)
		err := m.Do(func() error { return store.At(dataDir).Update(context.Background(), (*store.Tx).WakeAll) })
		if err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

// cut is the trouble of an address that answers nothing.
func cut(address string, words ...string) trouble {
	return trouble{
		code: 11, words: words,
		begin: func(t *testing.T, m *machine) {
			t.Helper()
			sh(t, &m.Host, "nft add table ip cut; nft 'add chain ip cut out { type filter hook output priority 0; }'; "+
				"nft add rule ip cut out ip daddr "+address+" drop")
		},
		end: func(t *testing.T, m *machine) { t.Helper(); sh(t, &m.Host, "nft delete table ip cut") },
	}
}

// shell is the trouble of a driver that is a shell's script.
func shell(code uint, script string, words ...string) trouble {
	return driver(code, "#!/bin/sh\n"+script, append(words, "eni-cloud-script")...)
}

// driver is the trouble of a driver with such a binary.
func driver(code uint, script string, words ...string) trouble {
	return trouble{
		code: code, words: words,
		conf: func(c conf) conf { return c.with("script", "ipam", "cloud") },
		call: func(t *testing.T, c chain.Call) {
			t.Helper()
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, "eni-cloud-script"), []byte(script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			c.Env["CNI_PATH"] = folder + ":" + c.Env["CNI_PATH"]
		},
	}
}

// driverConf is the trouble of a wrong "driver" section.
func driverConf(code uint, section any, words ...string) trouble {
	return trouble{code: code, words: words, conf: func(c conf) conf { return c.with(section, "ipam", "driver") }}
}

// driverTroubles are those with a driver, whatever the cloud behind it.
func driverTroubles() map[string]trouble {
	return map[string]trouble{
		"unknown cloud": {
			code: 7, words: []string{"nebula", "CNI_PATH"}, conf: func(c conf) conf { return c.with("nebula", "ipam", "cloud") },
		},
		"driver prints garbage": shell(11, "echo hello", "answer"),
		"driver prints nothing": shell(11, "exit 0"),
		"driver fails silently": shell(11, "exit 1", "exit status 1"),
		"driver fails and says": shell(11, "echo lost my way >&2; exit 1", "lost my way"),
		"driver dies":           shell(11, "kill -9 $$", "killed"),
		"driver floods":         shell(11, "yes", "more than"),
		"driver hangs":          shell(11, "exec sleep 60", "time"),
		"driver hangs in child": shell(11, "sleep 60", "time"),
		"driver is no program":  driver(7, "\x00", "eni-cloud-script", "cannot be run"),
	}
}

// troubles are those of a cloud.
func troubles(c clouds.Cloud) map[string]trouble {
	return map[string]trouble{
		"driver of wrong type":   driverConf(7, conf{"region": 5}, "region"),
		"endpoint of wrong kind": driverConf(7, c.Endpoints("ftp://x", ""), "endpoint"),
		"endpoint that is dead":  driverConf(11, c.Endpoints("http://127.0.0.1:9", ""), "127.0.0.1:9"),
		"metadata unreachable":   cut(c.MetadataAt, "metadata"),
		"API unreachable":        cut("10.19.255.10", "10.19.255.10"),
		"metadata refuses":       inject(11, vpcsim.Fault{Action: c.Action(clouds.Metadata), Status: 503}, "metadata"),
		"credentials refused":    inject(102, c.Fault(clouds.AnyCall, clouds.Refused), "not valid"),
		"call not allowed":       inject(102, c.Fault(clouds.Assign, clouds.NotAllowed)),
		"quota":                  resting(11, c.Fault(clouds.Assign, clouds.AddressLimit), "eni-"),
		"subnet full":            resting(11, c.Fault(clouds.Assign, clouds.SubnetFull), "eni-"),
		"throttled":              inject(11, c.Fault(clouds.Assign, clouds.Throttled)),
		"API broken":             inject(11, c.Fault(clouds.AnyCall, clouds.Broken)),
		"no role": {
			code: 102, words: []string{"role"},
			begin: func(_ *testing.T, m *machine) { m.lab.VPC.SetRole("") },
			end:   func(_ *testing.T, m *machine) { m.lab.VPC.SetRole("again") },
		},
	}
}

// Whatever keeps the pool from growing: ADD fails in time with a code, the reason and a hint; nothing of the container or
// of an address is left; and once the trouble is over, ADD works.
func TestTrouble(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) { testTroubles(t, c, troubles(c)) })
}

func TestTroubleWithTheDriver(t *testing.T) {
	t.Parallel()
	testTroubles(t, clouds.AWS(), driverTroubles())
}

// testTroubles has each of the troubles on a node that has grown its pool before, and on one that has not.
func testTroubles(t *testing.T, c clouds.Cloud, troubles map[string]trouble) {
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, lab.Options{Cloud: c.Name, ENIs: 2})
			network := on(c).with(1, "ipam", "batch")
			m.netns(t, "a")
			m.netns(t, "c")
			m.add(t, "a", network) // has the pool's only address
			before := m.state(t)
			m.endure(t, trouble, network)
			m.unchanged(t, before)
			m.add(t, "c", network)
			if n := m.agree(t); n != 2 {
				t.Errorf("%d addresses for 2 containers with a batch of 1", n)
			}
		})
		t.Run(name+", on a cold node", func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, lab.Options{Cloud: c.Name, ENIs: 2})
			network := on(c).with(1, "ipam", "batch")
			m.netns(t, "c")
			before := m.state(t)
			m.endure(t, trouble, network)
			m.unchanged(t, before)
			m.add(t, "c", network)
			if n := m.agree(t); n != 1 {
				t.Errorf("%d addresses for a container with a batch of 1", n)
			}
		})
	}
}

// endure runs an ADD of c while there is trouble.
func (m *machine) endure(t *testing.T, trouble trouble, network conf) {
	t.Helper()
	if trouble.conf != nil {
		network = trouble.conf(network)
	}
	c := m.call(ptpPlugin, "ADD", "c", network.with("4s", "ipam", "timeout"))
	if trouble.call != nil {
		trouble.call(t, c)
	}
	if trouble.begin != nil {
		trouble.begin(t, m)
	}
	began := time.Now()
	e := m.fail(t, c, trouble.code, trouble.words...)
	if took := time.Since(began); took > 40*time.Second { // a busy machine is slow, and yet nothing hangs
		t.Errorf("took %s with a timeout of 4 s", took)
	}
	if e.Details == "" {
		t.Errorf("no hint: %s", e.Msg)
	}
	if trouble.end != nil {
		trouble.end(t, m)
	}
}

// A driver that is late is ended with all that it started.
func TestLateDriverIsEnded(t *testing.T) {
	t.Parallel()
	c := clouds.AWS()
	m := newMachine(t, lab.Options{Cloud: c.Name, ENIs: 2})
	m.netns(t, "c")
	pids := t.TempDir() + "/pids"
	late := shell(11, "echo $$ >>"+pids+"; sleep 60 & echo $! >>"+pids+"; wait", "time")
	m.endure(t, late, on(c).with("1s", "ipam", "timeout"))
	content, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(content)) {
		m.eventually(t, "the driver's process "+pid+" ends", func() bool {
			status, err := os.ReadFile("/proc/" + pid + "/stat")
			return err != nil || strings.Contains(string(status), ") Z ") // its new parent has to take note of it
		})
	}
}

// The driver is not where the plugins are.
func TestMissingDriver(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		m := newMachine(t, lab.Options{Cloud: c.Name, ENIs: 2})
		m.netns(t, "c")
		before := m.state(t)
		folder := t.TempDir()
		if err := os.Link(bin.Path(ipamPlugin), filepath.Join(folder, ipamPlugin)); err != nil {
			t.Fatal(err)
		}
		call := m.call(ptpPlugin, "ADD", "c", on(c))
		call.Env["CNI_PATH"] = folder
		if e := m.fail(t, call, 7, "eni-cloud-"+c.Name, folder); !strings.Contains(e.Details, "beside the plugins") {
			t.Errorf("unhelpful hint: %q", e.Details)
		}
		m.unchanged(t, before)
		m.add(t, "c", on(c))
		m.agree(t)
	})
}

// Each ENI holds all that it may: code 11, and which ENI holds how many. A DEL makes room again.
func TestNoAddressLeft(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		m := newMachine(t, lab.Options{Cloud: c.Name, ENIs: 2, InstanceType: c.Tiny.Type})
		for _, id := range []string{"a", "b", "c"} {
			m.netns(t, id)
		}
		m.add(t, "a", on(c))
		m.add(t, "b", on(c))
		before := m.state(t)
		for range 2 {
			e := m.fail(t, m.call(ptpPlugin, "ADD", "c", on(c)), 11, m.lab.VPC.ENIs(m.InstanceID)[0].ID+" is full with 1", c.Tiny.Type)
			if !strings.Contains(e.Details, "retry") {
				t.Errorf("unhelpful hint: %q", e.Details)
			}
			m.unchanged(t, before)
		}
		m.del(t, "a", on(c).with("1h", "ipam", "cooldown"))
		m.fail(t, m.call(ptpPlugin, "ADD", "c", on(c)), 11, "1 are cooling down")
		m.del(t, "b", on(c))
		m.add(t, "c", on(c))
		if n := m.agree(t); n != 2 {
			t.Errorf("%d addresses", n)
		}
	})
}

// An assignment whose answer is lost has been made: the ADD finds it, and so does the next one where this one cannot.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		network := on(c).with("2s", "ipam", "timeout").with(1, "ipam", "batch")
		t.Run("found at once", func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, lab.Options{Cloud: c.Name, ENIs: 2})
			m.netns(t, "c")
			m.lab.VPC.Inject(c.Lost(clouds.Assign))
			m.add(t, "c", network)
			if n := m.agree(t); n != 1 {
				t.Errorf("%d addresses, want 1", n)
			}
		})
		for name, trouble := range unfound(c) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				m := newMachine(t, lab.Options{Cloud: c.Name, ENIs: 2})
				m.netns(t, "a")
				m.netns(t, "c")
				m.add(t, "a", network)
				before, calls := m.state(t), m.lab.VPC.Calls(c.Action(clouds.Assign))
				m.lab.VPC.Inject(c.Lost(clouds.Assign))
				trouble.words = nil
				m.endure(t, trouble, network)
				m.lab.VPC.ClearFaults()
				m.unchanged(t, before)
				m.add(t, "c", network)
				if n := m.agree(t); n != 2 {
					t.Errorf("%d addresses, want 2", n)
				}
				if n := m.lab.VPC.Calls(c.Action(clouds.Assign)) - calls; n != 1 {
					t.Errorf("%d calls to assign one address", n)
				}
			})
		}
	})
}

// unfound are troubles in which an ADD cannot find out what became of its assignment.
func unfound(c clouds.Cloud) map[string]trouble {
	late := func(call clouds.Call) vpcsim.Fault {
		return clouds.Always(vpcsim.Fault{Action: c.Action(call), Delay: 5 * time.Second})
	}
	return map[string]trouble{
		"found by the next":            inject(11, c.Fault(clouds.List, clouds.Broken)),
		"found by the next, throttled": inject(11, c.Fault(clouds.List, clouds.Throttled)),
		"an answer that is late, then nothing": {code: 11, begin: func(_ *testing.T, m *machine) {
			m.lab.VPC.ClearFaults()
			m.lab.VPC.Inject(late(clouds.Assign))
			m.lab.VPC.Inject(late(clouds.List))
		}},
		"the time is over meanwhile": {code: 11, begin: func(_ *testing.T, m *machine) { m.lab.VPC.Inject(late(clouds.List)) }},
	}
}
