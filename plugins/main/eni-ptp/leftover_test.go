package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netstate/nstest"
)

// The rules of an ENI that was deleted go when the next one is first seen, and no other ADD looks for them. Rules of others,
// and of addresses that are somebody's, stay.
func TestRulesOfADeletedENIGo(t *testing.T) {
	n := newNode(t)
	const gone, routed, others = "10.19.16.99/32", "10.19.16.98/32", "10.19.16.97/32"
	leave := func() {
		n.Do(func() error {
			return errors.Join(addRule(1536, gone, 9, layout.Protocol), addRule(1536, routed, 9, layout.Protocol), addRule(1536, others, 9, 77))
		})
	}
	left := func() []string {
		var found []string
		for _, line := range n.everything(t) {
			for _, ip := range []string{gone, routed, others} {
				if strings.Contains(line, "from "+strings.TrimSuffix(ip, "/32")+" ") {
					found = append(found, ip)
				}
			}
		}
		slices.Sort(found)
		return found
	}
	n.Do(func() error { return up("lo", routed) })
	leave()
	add(t, n.NS, plugin{id: "a", netns: nstest.New(t).Path(), conf: n.conf("eni-1")})
	if found := left(); !slices.Equal(found, []string{others, routed}) {
		t.Errorf("left after a new ENI: %v", found)
	}
	n.Do(func() error { return addRule(1536, gone, 9, layout.Protocol) })
	add(t, n.NS, plugin{id: "b", netns: nstest.New(t).Path(), conf: n.conf("eni-1")})
	if found := left(); !slices.Contains(found, gone) {
		t.Errorf("an ADD on a known ENI looks for rules of others: %v", found)
	}
}
