package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate/nstest"
)

// A container of one layout is whole when the configuration says another, a repeated ADD brings it there, and a DEL takes away
// whichever it has, whatever the configuration says.
func TestFromEachToEach(t *testing.T) {
	for _, from := range variants() {
		for _, to := range variants() {
			if from == to {
				continue
			}
			t.Run(from.String()+" to "+to.String(), func(t *testing.T) {
				t.Parallel()
				fromTo(t, from, to)
			})
		}
	}
}

func fromTo(t *testing.T, from, to variant) {
	t.Helper()
	n := newNodeOf(t, from)
	a, b, fresh := nstest.New(t), nstest.New(t), nstest.New(t)
	calls := []plugin{{id: "a", netns: a.Path(), conf: n.conf("eni-1")}, {id: "b", netns: b.Path(), conf: n.conf("eni-0")}}
	n.variant = to
	for i, p := range calls {
		p.conf = to.of(with(p.conf, map[string]any{"routing": nil, "marking": nil}))
		r := add(t, n.NS, calls[i])
		succeed(t, n.NS, p.checking(r))
		calls[i] = p
	}
	// A new one beside those of before.
	add(t, n.NS, plugin{id: "fresh", netns: fresh.Path(), conf: n.conf("eni-2")})
	walk := func(when string) {
		t.Helper()
		for _, w := range []struct {
			in *nstest.NS
			to string
		}{
			{a, otherIP},
			{b, otherIP},
			{fresh, otherIP},
			{a, "10.19.0.17"},
			{fresh, "10.19.16.6"},
			{fresh, "10.19.0.40"},
			{a, "10.19.0.40"},
			{n.NS, "10.19.16.6"},
			{n.NS, "10.19.0.40"},
			{n.vpc, "10.19.16.6"},
		} {
			if _, err := ping(t, w.in, "", w.to); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	walk("before")
	for _, p := range calls {
		r := add(t, n.NS, p)
		succeed(t, n.NS, p.checking(r))
	}
	walk("after")
	for _, line := range n.everything(t) {
		if to.routing == netconf.PerENI && (strings.Contains(line, "10.19.16.6 lookup") || strings.Contains(line, "10.19.16.6 dev podX scope")) ||
			to.routing == netconf.PerPod && strings.Contains(line, "dev podX table 101512") {
			t.Errorf("left of before: %s", line)
		}
	}
	for _, p := range calls {
		p.verb, p.conf = "DEL", from.of(with(p.conf, map[string]any{"routing": nil, "marking": nil}))
		succeed(t, n.NS, p)
	}
	for _, line := range n.everything(t) {
		if strings.Contains(line, "10.19.16.6") || strings.Contains(line, "10.19.0.40") {
			t.Errorf("left: %s", line)
		}
	}
}

// A DEL that comes late, under another layout than the ADD's, and after the address got its next owner.
func TestDelOfTheOtherLayout(t *testing.T) {
	for _, v := range variants() {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			n := preparedOf(t, v)
			before := n.everything(t)
			p := plugin{id: "a", netns: nstest.New(t).Path(), conf: n.conf("eni-1")}
			add(t, n.NS, p)
			other := netconf.PerENI
			if v.routing == netconf.PerENI {
				other = netconf.PerPod
			}
			p.verb, p.conf = "DEL", with(p.conf, map[string]any{"routing": other})
			succeed(t, n.NS, p)
			if diff := cmp.Diff(before, n.everything(t)); diff != "" {
				t.Errorf("left on the host (-before +after):\n%s", diff)
			}
		})
	}
}

// A kernel without tcx, which strace plays: "auto" takes nftables, and "tcx" says what is missing.
func TestWithoutTCX(t *testing.T) {
	n := newNode(t)
	bin := os.Getenv(binEnv)
	for marking, want := range map[string]string{"auto": "", "tcx": "this kernel has no tcx: invalid argument"} {
		ns := nstest.New(t)
		log := filepath.Join(t.TempDir(), "log")
		conf := fmt.Sprintf(`{"cniVersion": "1.1.0", "name": "net", "type": "eni-ptp", "routing": "per-eni", "marking": %q, "log": {"file": %q},
			"ipam": {"type": "eni-ipam", "dataDir": %q, "eni": "eni-1"}}`, marking, log, n.dataDir)
		cmd := exec.CommandContext(t.Context(), "strace", "-f", "-o", "/dev/null", "-e", "trace=bpf", "-e", "inject=bpf:error=EINVAL", filepath.Join(bin, "eni-ptp"))
		cmd.Env = []string{
			"CNI_COMMAND=ADD", "CNI_CONTAINERID=" + marking, "CNI_NETNS=" + ns.Path(), "CNI_IFNAME=eth0", "CNI_PATH=" + bin,
			"PATH=" + os.Getenv("PATH"),
		}
		cmd.Stdin = strings.NewReader(conf)
		var out []byte
		var err error
		n.Do(func() error { out, err = cmd.Output(); return nil })
		if want != "" {
			if err == nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), `\"marking\": \"auto\"`) {
				t.Errorf("%s: %v: %s", marking, err, out)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v: %s", marking, err, out)
		}
		if _, err := ping(t, ns, "", otherIP); err != nil {
			t.Error(err)
		}
		n.Do(func() error {
			return onLink(layout.Identify("pod", marking, "eth0").Veth, func(l netlink.Link) error {
				if l.Attrs().Group != layout.GroupMarked {
					t.Errorf("the veth is in group %d", l.Attrs().Group)
				}
				return nil
			})
		})
		if said, err := os.ReadFile(log); err != nil || !strings.Contains(string(said), `"by":"nftables"`) || !strings.Contains(string(said), `"notTCX":"`) {
			t.Errorf("the log says %s, %v", said, err)
		}
	}
}

// Where IPv4 and IPv6 of a container are of two ENIs, or of one and the primary, each leaves by its own.
func TestTwoFamiliesOnTwoENIs(t *testing.T) { onEach(t, twoFamiliesOn) }

func twoFamiliesOn(t *testing.T, v variant) {
	n := newNode6Of(t, v)
	for i, c := range []struct{ eni, ip6 string }{{"eni-1", other6}, {"eni-2", first6}, {"eni-1", primary6}, {"eni-0", second6}} {
		ns := nstest.New(t)
		p := plugin{id: fmt.Sprint("c", i), netns: ns.Path(), conf: n.conf6(c.eni, "", c.ip6)}
		succeed(t, n.NS, p.checking(add(t, n.NS, p)))
		for _, to := range []string{otherIP, far6} {
			if _, err := ping(t, ns, "", to); err != nil {
				t.Errorf("%s with %s: %v", c.eni, c.ip6, err)
			}
		}
	}
}
