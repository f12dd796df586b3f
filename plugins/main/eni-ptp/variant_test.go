package main

import (
	"fmt"
	"testing"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
)

// variant is a layout of the policy rules, and a way to mark packets for it.
type variant struct {
	routing netconf.Routing
	marking netconf.Marking
}

func variants() []variant {
	return []variant{{netconf.PerPod, ""}, {netconf.PerENI, netconf.TCX}, {netconf.PerENI, netconf.NFTables}}
}

func (v variant) String() string {
	if v.marking == "" {
		return string(v.routing)
	}
	return string(v.routing) + " by " + string(v.marking)
}

// onEach runs a test in each layout, with each marking.
func onEach(t *testing.T, test func(t *testing.T, v variant)) {
	t.Helper()
	for _, v := range variants() {
		t.Run(v.String(), func(t *testing.T) { test(t, v) })
	}
}

// onLayouts runs a test, to which it is all the same what marks packets, in each layout.
func onLayouts(t *testing.T, test func(t *testing.T, v variant)) {
	t.Helper()
	for _, v := range variants()[:2] {
		t.Run(v.String(), func(t *testing.T) { test(t, v) })
	}
}

// table is the one with the routes to containers.
func (v variant) table() int {
	if v.routing == netconf.PerENI {
		return layout.TablePods
	}
	return layout.TableMain
}

// in says that a route of the host is in the containers' table.
func (v variant) in() string {
	if v.routing == netconf.PerENI {
		return fmt.Sprintf(" table %d", layout.TablePods)
	}
	return ""
}

// shared is how many rules of IPv6 stay in TestDualStack: the ENI's own two, and where the rules are per ENI that of all
// containers and those of two numbers.
func (v variant) shared() int {
	if v.routing == netconf.PerENI {
		return 5
	}
	return 2
}

// of puts the variant into a configuration.
func (v variant) of(conf map[string]any) map[string]any {
	if v.marking == "" {
		return with(conf, map[string]any{"routing": v.routing})
	}
	return with(conf, map[string]any{"routing": v.routing, "marking": v.marking})
}
