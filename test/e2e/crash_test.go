package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
)

// steps are the system calls that change something, or hand over to something that does: netlink, files, processes.
const steps = "sendto,sendmsg,write,pwrite64,fdatasync,ftruncate,openat,mkdirat,renameat,unlinkat,flock,execve,clone,clone3"

// maxSteps bounds the search for the last step, should a plugin never end by itself.
const maxSteps = 400

// killedAt is a command line under which a program dies by SIGKILL when it enters its nth step.
func killedAt(n int) []string {
	return []string{
		"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + steps,
		"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", steps, n),
	}
}

// plugin puts together a call of one plugin of a network, as libcni would.
func plugin(n *lab.Node, command, id, conf string, prevResult []byte) chain.Call {
	fields := map[string]any{"cniVersion": "1.0.0", "name": "enichain"}
	if err := json.Unmarshal([]byte(conf), &fields); err != nil {
		panic(err)
	}
	if prevResult != nil {
		fields["prevResult"] = json.RawMessage(prevResult)
	}
	stdin, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	env := map[string]string{
		"CNI_COMMAND": command, "CNI_CONTAINERID": id, "CNI_NETNS": "/run/netns/" + id, "CNI_IFNAME": "eth0",
	}
	for _, v := range n.Env() {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	return chain.Call{Plugin: "/opt/cni/bin/" + fields["type"].(string), Env: env, Stdin: stdin}
}

const (
	ptpConf  = `{"type": "eni-ptp", "ipam": {"type": "eni-ipam", "cloud": "aws", "cooldown": "0s", "firstDeviceIndex": 1}}`
	snatConf = `{"type": "eni-snat"}`
)

// must runs a call that has to succeed.
func must(t *testing.T, n *lab.Node, c chain.Call) []byte {
	t.Helper()
	o, err := c.Run(t.Context(), &n.Host)
	if err != nil || o.Status != 0 {
		t.Fatalf("%s %s: %v, %s", c.Env["CNI_COMMAND"], c.Plugin, err, o.Stdout)
	}
	return o.Stdout
}

func snapshot(t *testing.T, n *lab.Node) []string {
	t.Helper()
	s, err := chain.Snapshot(t.Context(), n, dataDir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// killAtEachStep runs a call again and again, killed one step later each time, and cleanUp after each, until the call
// lives to its end. It says how many kills there were.
func killAtEachStep(t *testing.T, n *lab.Node, do func(i int) chain.Call, cleanUp func(i int)) {
	t.Helper()
	for i := 1; i <= maxSteps; i++ {
		c := do(i)
		c.Wrapper = killedAt(i)
		o, err := c.Run(t.Context(), &n.Host)
		if err != nil {
			t.Fatal(err)
		}
		cleanUp(i)
		if t.Failed() {
			t.Fatalf("after %s was killed at step %d", c.Env["CNI_COMMAND"], i)
		}
		if o.Status == 0 {
			if i < 10 {
				t.Fatalf("%s ended after %d steps: it was not killed at all", c.Env["CNI_COMMAND"], i)
			}
			t.Logf("%s was killed %d times", c.Env["CNI_COMMAND"], i-1)
			return
		}
	}
	t.Fatalf("still killed at step %d", maxSteps)
}

// crashNode is a node whose ENIs are prepared, and whose pool has addresses: the state that crashes must lead back to.
func crashNode(t *testing.T) (*lab.Node, []string) {
	t.Helper()
	l := upLab(t, lab.Options{Nodes: 1})
	n := l.Nodes[0]
	onNode(t, n, fmt.Sprintf(whole, "", ""))
	if _, err := n.AddNetns("warm"); err != nil {
		t.Fatal(err)
	}
	result := must(t, n, plugin(n, "ADD", "warm", ptpConf, nil))
	must(t, n, plugin(n, "ADD", "warm", snatConf, result))
	must(t, n, plugin(n, "DEL", "warm", ptpConf, nil))
	return n, snapshot(t, n)
}

func TestKilledADD(t *testing.T) {
	for name, cleanUp := range map[string]func(t *testing.T, n *lab.Node, id string){
		"then DEL": func(t *testing.T, n *lab.Node, id string) {
			t.Helper()
			must(t, n, plugin(n, "DEL", id, ptpConf, nil))
		},
		"then the netns goes, then DEL": func(t *testing.T, n *lab.Node, id string) {
			t.Helper()
			if err := n.DelNetns(id); err != nil {
				t.Fatal(err)
			}
			c := plugin(n, "DEL", id, ptpConf, nil)
			c.Env["CNI_NETNS"] = ""
			must(t, n, c)
		},
		"then GC": func(t *testing.T, n *lab.Node, _ string) {
			t.Helper()
			gc := strings.TrimSuffix(ptpConf, "}") + `, "cniVersion": "1.1.0", "cni.dev/valid-attachments": []}`
			must(t, n, plugin(n, "GC", "", gc, nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, before := crashNode(t)
			id := func(i int) string { return "c" + strconv.Itoa(i) }
			killAtEachStep(t, n, func(i int) chain.Call {
				if _, err := n.AddNetns(id(i)); err != nil {
					t.Fatal(err)
				}
				return plugin(n, "ADD", id(i), ptpConf, nil)
			}, func(i int) {
				cleanUp(t, n, id(i))
				if !strings.Contains(name, "netns") {
					if err := n.DelNetns(id(i)); err != nil {
						t.Fatal(err)
					}
				}
				sameState(t, n, before)
			})
		})
	}
}

func TestKilledDEL(t *testing.T) {
	t.Parallel()
	n, before := crashNode(t)
	if _, err := n.AddNetns("c"); err != nil {
		t.Fatal(err)
	}
	killAtEachStep(t, n, func(int) chain.Call {
		must(t, n, plugin(n, "ADD", "c", ptpConf, nil))
		return plugin(n, "DEL", "c", ptpConf, nil)
	}, func(int) {
		must(t, n, plugin(n, "DEL", "c", ptpConf, nil))
		sameState(t, n, before)
	})
}

func TestKilledSNAT(t *testing.T) {
	t.Parallel()
	n, before := crashNode(t)
	if _, err := n.AddNetns("c"); err != nil {
		t.Fatal(err)
	}
	result := must(t, n, plugin(n, "ADD", "c", ptpConf, nil))
	killAtEachStep(t, n, func(int) chain.Call {
		for _, args := range [][]string{{"nft", "delete", "table", "ip", "enichain"}, {"ip", "rule", "del", "pref", "1024"}} {
			if _, err := n.Output(t.Context(), nil, args[0], args[1:]...); err != nil && args[0] == "nft" {
				t.Fatal(err)
			}
		}
		return plugin(n, "ADD", "c", snatConf, result)
	}, func(int) {
		must(t, n, plugin(n, "ADD", "c", snatConf, result)) // a runtime's next container
		must(t, n, plugin(n, "CHECK", "c", snatConf, result))
	})
	must(t, n, plugin(n, "DEL", "c", snatConf, nil))
	must(t, n, plugin(n, "DEL", "c", ptpConf, nil))
	sameState(t, n, before)
}

// sameState compares what is in the node with what was before, veths that are still going aside: the kernel removes those
// of a namespace that went some time after it.
func sameState(t *testing.T, n *lab.Node, before []string) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		diff := cmp.Diff(before, snapshot(t, n))
		if diff == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind or lost (-before +after):\n%s", diff)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A process that dies while it grows the pool leaks no address: what the cloud has assigned, the store knows once the
// next one has grown it.
func TestKilledWhileThePoolGrows(t *testing.T) {
	t.Parallel()
	const ipam = `{"type": "eni-ptp", "ipam": {"type": "eni-ipam", "cloud": "aws", "batch": 2}}`
	for i := 1; i <= maxSteps; i++ {
		l := upLab(t, lab.Options{Nodes: 1, ENIs: 2})
		n := l.Nodes[0]
		onNode(t, n, fmt.Sprintf(whole, "", ""))
		for _, id := range []string{"killed", "next", "third"} {
			if _, err := n.AddNetns(id); err != nil {
				t.Fatal(err)
			}
		}
		call := func(id string) chain.Call {
			c := plugin(n, "ADD", id, ipam, nil)
			c.Plugin, c.Env["CNI_PATH"] = "/opt/cni/bin/eni-ipam", "/opt/cni/bin"
			return c
		}
		c := call("killed")
		c.Wrapper = killedAt(i)
		o, err := c.Run(t.Context(), &n.Host)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"next", "third"} {
			must(t, n, call(id))
		}
		var known, assigned []netip.Addr
		for _, e := range l.VPC.ENIs(n.InstanceID) {
			assigned = append(assigned, e.Secondary...)
		}
		if err := n.Do(func() error {
			return store.At(dataDir).View(t.Context(), func(tx *store.Tx) error {
				all, err := tx.Addresses()
				for _, a := range all {
					known = append(known, a.IP)
				}
				return err
			})
		}); err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(assigned, netip.Addr.Compare)
		if !slices.Equal(known, assigned) || len(assigned) > 6 {
			t.Fatalf("killed at step %d: the cloud has assigned %v, the store knows %v", i, assigned, known)
		}
		if err := l.Down(); err != nil {
			t.Fatal(err)
		}
		if o.Status == 0 {
			t.Logf("killed %d times", i-1)
			return
		}
	}
	t.Fatalf("still killed at step %d", maxSteps)
}
