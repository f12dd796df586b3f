package lab_test

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

// A node that was rebooted has its ENIs as they were at first, and nothing else; files but those of /run stay.
func TestReboot(t *testing.T) {
	t.Parallel()
	l := up(t, lab.Options{Name: "reboot", Nodes: 2})
	n := l.Nodes[0]
	if _, err := n.AddNetns("c"); err != nil {
		t.Fatal(err)
	}
	if err := n.Do(spoil); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second boot is like the first
		if err := l.Reboot(n); err != nil {
			t.Fatal(err)
		}
		links, rules := state(t, n)
		if want := "lo:up eth0:up eth1 eth2"; links != want {
			t.Errorf("links after the reboot: %s, want %s", links, want)
		}
		if rules != 3 {
			t.Errorf("%d rules after the reboot, want 3", rules)
		}
		if _, err := ping(t, &n.Host, node2Eth0, probe.From{}); err != nil {
			t.Error(err)
		}
		if _, err := ping(t, l.Internet, node1Eth0, probe.From{}); err != nil {
			t.Error(err)
		}
	}
	for path, stays := range map[string]bool{"/run/netns/c": false, "/run/x/y": false, "/etc/cni/stays": true, "/var/lib/stays": true} {
		err := n.Do(func() error { _, err := os.Stat(path); return err })
		if stays != (err == nil) || !stays && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s after the reboot: %v", path, err)
		}
	}
	if _, err := n.AddNetns("c"); err != nil {
		t.Errorf("the name of a container from before: %v", err)
	}
}

// spoil leaves something everywhere.
func spoil() error {
	link, err := netlink.LinkByName("eth2")
	if err != nil {
		return err
	}
	rule := netlink.NewRule()
	rule.Priority, rule.Table = 1000, 100
	veth := netlink.NewVeth(netlink.NewLinkAttrs())
	veth.Name, veth.PeerName = "left0", "left1"
	return errors.Join(
		netlink.LinkSetMTU(link, 1280), netlink.LinkSetUp(link), netlink.RuleAdd(rule), netlink.LinkAdd(veth),
		os.MkdirAll("/run/x", 0o755), os.WriteFile("/run/x/y", nil, 0o644),
		os.WriteFile("/etc/cni/stays", nil, 0o644), os.WriteFile("/var/lib/stays", nil, 0o644),
	)
}

// state tells a node's links, and which are up, and the number of its rules.
func state(t *testing.T, n *lab.Node) (string, int) {
	t.Helper()
	h, err := n.Handle()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, link := range links {
		word := link.Attrs().Name
		if link.Attrs().Flags&net.FlagUp != 0 {
			word += ":up"
		}
		words = append(words, word)
		if word == "eth2" && link.Attrs().MTU != 9001 {
			t.Errorf("eth2 has an MTU of %d", link.Attrs().MTU)
		}
	}
	rules, err := h.RuleList(netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(words, " "), len(rules)
}
