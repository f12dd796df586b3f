package demo

import (
	"testing"

	"github.com/enichain/enichain/test/probe"
)

// The kernel's stamps may be wrong, and so the order in which packets come here tells nothing.
func TestPathIsInTheOrderOfTheHops(t *testing.T) {
	n1, n2 := &node{}, &node{}
	n1.containers = []*container{{veth: "podA"}}
	n2.containers = []*container{{veth: "podB"}}
	syn := func(n *node, link string, ttl int, outgoing bool) captured {
		return captured{probe.Packet{Protocol: "tcp", Flags: "S", Interface: link, TTL: ttl, Outgoing: outgoing}, n}
	}
	packets := []captured{
		syn(n2, "podB", 62, true), syn(n2, "eth1", 63, false), syn(n1, "eth2", 63, true), syn(n1, "podA", 64, false),
		syn(n1, "podA", 64, false), // once more
		{probe.Packet{Protocol: "tcp", Flags: ".", Interface: "eth0", TTL: 64}, n1},
	}
	if got := path(packets, request); got != "veth > eth2 > eth1 > veth" {
		t.Errorf("the path is %s", got)
	}
	if got := path(packets, answer); got != "" {
		t.Errorf("the answer's path is %s", got)
	}
}
