package marking_test

import (
	"errors"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/marking"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
)

// world is a host with the veths of two containers.
type world struct {
	*testing.T
	h *netstate.Handle
}

func in(t *testing.T, f func(w world)) {
	t.Helper()
	nstest.New(t).Do(func() error {
		for _, name := range []string{"poda", "podb"} {
			if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "-far"}); err != nil {
				return err
			}
		}
		h, err := netstate.Here()
		if err != nil {
			return err
		}
		defer h.Close()
		f(world{t, h})
		return nil
	})
}

func (w world) veth(name string) netstate.Link {
	w.Helper()
	l, err := w.h.LinkByName(name)
	if err != nil {
		w.Fatal(err)
	}
	return l
}

func (w world) set(name string, c layout.Attachment, want netconf.Marking, hint uint32) marking.Outcome {
	w.Helper()
	o, err := marking.Set(w.Context(), w.h, w.veth(name), c, want, hint, nil)
	if err != nil {
		w.Fatal(err)
	}
	return o
}

// want compares what Diff says.
func (w world) want(name string, c layout.Attachment, by netconf.Marking, difference string) {
	w.Helper()
	got, d, err := marking.Diff(w.Context(), w.veth(name), c)
	if err != nil || got != by || difference == "" && d != "" || !strings.Contains(d, difference) {
		w.Errorf("%s: marked by %q, %q, %v; want %q, %q", name, got, d, err, by, difference)
	}
}

// of has the addresses of two families with the numbers; of 0 there is none.
func of(ipv4, ipv6 int) layout.Attachment {
	var c layout.Attachment
	for ip, n := range map[string]int{"10.0.1.6": ipv4, "2001:db8::6": ipv6} {
		if n != 0 {
			c.Addresses = append(c.Addresses, layout.Address{IP: netip.MustParseAddr(ip), Number: n})
		}
	}
	return c
}

// The containers of an ENI share a program, which lives as long as one of them.
func TestProgramsAreShared(t *testing.T) {
	in(t, func(w world) {
		first := w.set("poda", of(2, 0), netconf.TCX, 0)
		second := w.set("podb", of(2, 2), netconf.TCX, first.Program)
		if first.Program == 0 || first.Program != second.Program || first.By != netconf.TCX {
			t.Errorf("unexpected programs: %+v, %+v", first, second)
		}
		if again := w.set("poda", of(2, 0), netconf.TCX, 0); again.Program != first.Program {
			t.Errorf("a program that is there is not kept: %+v, then %+v", first, again)
		}
		for _, name := range []string{"poda", "podb"} {
			w.want(name, of(2, 0), netconf.TCX, "")
			if err := w.h.RemoveLink(layout.Device{Name: name}); err != nil {
				t.Error(err)
			}
		}
	})
	in(t, func(w world) {
		other := w.set("poda", of(3, 0), netconf.TCX, 0)
		if o := w.set("podb", of(2, 0), netconf.TCX, other.Program); o.Program == other.Program {
			t.Error("a hint to another ENI's program was taken")
		}
		w.want("podb", of(2, 0), netconf.TCX, "")
	})
}

// Whatever a veth was marked with before, it is marked with what is wanted after, in one way alone.
func TestFromAnyToAny(t *testing.T) {
	ways := []netconf.Marking{netconf.TCX, netconf.NFTables}
	states := []layout.Attachment{of(2, 0), of(0, 3), of(2, 3), of(5, 5), of(0, 0)}
	in(t, func(w world) {
		for _, before := range ways {
			for _, after := range ways {
				for i, from := range states {
					for j, to := range states {
						w.set("poda", from, before, 0)
						w.set("poda", to, after, 0)
						by := after
						if len(to.Addresses) == 0 {
							by = ""
						}
						w.want("poda", to, by, "")
						if w.Failed() {
							t.Fatalf("from %d by %s to %d by %s", i, before, j, after)
						}
						if group := w.veth("poda").Group; (group == layout.GroupMarked) != (by == netconf.NFTables) {
							t.Fatalf("group %d by %s", group, by)
						}
					}
				}
			}
		}
		w.set("poda", of(2, 0), netconf.NFTables, 0)
		w.want("poda", of(4, 0), netconf.NFTables, "table ip enichain-eni gives 10.0.1.6 the number 2, not 4")
		w.set("podb", of(2, 0), netconf.TCX, 0)
		w.want("podb", of(4, 0), netconf.TCX, "the BPF program enichain_2_2 is on podb, not enichain_4_4")
		if err := marking.Clear(w.h, w.veth("podb")); err != nil {
			t.Error(err)
		}
		w.want("podb", of(4, 0), "", "nothing marks the packets of podb with 0x4")
		w.want("podb", of(4, 3), "", "with 0x4 (IPv4) and 0x3 (IPv6)")
	})
}

// What a user reads: the tables as nft shows them.
func TestTables(t *testing.T) {
	in(t, func(w world) {
		if has, err := marking.HasTables(t.Context()); has || err != nil {
			t.Errorf("tables before: %v, %v", has, err)
		}
		w.set("poda", of(2, 3), netconf.NFTables, 0)
		out, err := exec.CommandContext(t.Context(), "nft", "list", "table", "ip", "enichain-eni").CombinedOutput()
		if err != nil {
			t.Fatalf("nft: %v: %s", err, out)
		}
		for _, line := range []string{
			"type ipv4_addr : mark", "10.0.1.6 : 0x", "type filter hook prerouting priority raw - 10; policy accept;",
			"iifgroup 101 meta mark set ip saddr map @eni",
		} {
			if !strings.Contains(string(out), line) {
				t.Errorf("%q is not in\n%s", line, out)
			}
		}
		if has, err := marking.HasTables(t.Context()); !has || err != nil {
			t.Errorf("tables: %v, %v", has, err)
		}
		unused, err := marking.Unused(t.Context(), netip.Addr.Is6)
		if err != nil || len(unused) != 1 || unused[0] != netip.MustParseAddr("10.0.1.6") {
			t.Errorf("unused: %v, %v", unused, err)
		}
		if err := marking.RemoveElements(t.Context(), unused); err != nil {
			t.Error(err)
		}
		w.want("poda", of(2, 3), netconf.NFTables, "gives 10.0.1.6 the number 0, not 2")
		err = errors.Join(marking.RemoveTables(t.Context()), marking.RemoveTables(t.Context()))
		if has, e := marking.HasTables(t.Context()); has || e != nil || err != nil {
			t.Errorf("tables after: %v, %v, %v", has, e, err)
		}
	})
}

// Other programs on the veth stay where they are.
func TestAForeignProgramStays(t *testing.T) {
	if _, err := exec.LookPath("tc"); err != nil {
		t.Fatal(err)
	}
	in(t, func(w world) {
		// The plugin bandwidth: an ingress qdisc, which clsact would be in the way of.
		for i, line := range []string{"tc qdisc add dev poda ingress", "tc qdisc show dev poda"} {
			if i == 1 {
				w.set("poda", of(2, 0), netconf.TCX, 0)
			}
			out, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput()
			if err != nil || i == 1 && !strings.Contains(string(out), "ingress") {
				t.Errorf("%s: %v: %s", line, err, out)
			}
		}
		w.set("podb", of(2, 0), netconf.TCX, 0)
		if out, err := exec.CommandContext(t.Context(), "tc", "qdisc", "add", "dev", "podb", "ingress").CombinedOutput(); err != nil {
			t.Errorf("an ingress qdisc beside the program: %v: %s", err, out)
		}
		w.want("poda", of(2, 0), netconf.TCX, "")
	})
}

func TestNoLink(t *testing.T) {
	in(t, func(w world) {
		gone := netstate.Link{Device: layout.Device{Index: 4711, Name: "gone"}}
		if _, err := marking.Set(t.Context(), w.h, gone, of(2, 0), netconf.TCX, 0, nil); err == nil || !strings.Contains(err.Error(), "mark what comes from gone") {
			t.Error(err)
		}
	})
}

// Who flushes the ruleset takes the elements of all containers: the next that is marked brings back those of all that are known.
func TestALostTableComesBackWhole(t *testing.T) {
	in(t, func(w world) {
		w.set("poda", of(2, 3), netconf.NFTables, 0)
		if out, err := exec.CommandContext(t.Context(), "nft", "flush", "ruleset").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		w.want("poda", of(2, 3), netconf.NFTables, "the number 0, not")
		other := layout.Attachment{Addresses: []layout.Address{{IP: netip.MustParseAddr("10.0.2.6"), Number: 5}, {IP: netip.MustParseAddr("2001:db8::5:6"), Number: 5}}}
		all := func() ([]layout.Address, error) {
			many := append(of(2, 3).Addresses, other.Addresses...)
			for i := range 600 { // more than a message has room for
				many = append(many, layout.Address{IP: netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), Number: 7})
			}
			return append(many, layout.Address{IP: netip.MustParseAddr("10.0.3.1")}), nil // of the primary ENI
		}
		if _, err := marking.Set(t.Context(), w.h, w.veth("podb"), other, netconf.NFTables, 0, all); err != nil {
			t.Fatal(err)
		}
		w.want("poda", of(2, 3), netconf.NFTables, "")
		w.want("podb", other, netconf.NFTables, "")
		last := layout.Attachment{Addresses: []layout.Address{{IP: netip.MustParseAddr("10.9.2.87"), Number: 7}}}
		w.want("podb", last, netconf.NFTables, "")
		unused, err := marking.Unused(t.Context(), func(ip netip.Addr) bool { return ip.Is6() || ip.As4()[1] != 9 })
		if err != nil || len(unused) != 600 {
			t.Errorf("%d are unused, %v", len(unused), err)
		}
		if err := marking.RemoveElements(t.Context(), unused); err != nil {
			t.Error(err)
		}
		w.want("podb", last, netconf.NFTables, "the number 0, not 7")
		w.want("poda", of(2, 3), netconf.NFTables, "")
	})
}
