package snat

import (
	"os"
	"testing"

	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/xtables"
	"github.com/enichain/enichain/core/xtables/xtablestest"
)

// onBackends runs a test on nftables, and on iptables of both variants.
func onBackends(t *testing.T, test func(t *testing.T, backend string)) {
	t.Run(netconf.NFTables, func(t *testing.T) { test(t, netconf.NFTables) })
	onVariants(t, func(t *testing.T, _ xtables.Variant) { test(t, netconf.IPTables) })
}

// onVariants runs a test with each variant as the host's iptables.
func onVariants(t *testing.T, test func(t *testing.T, v xtables.Variant)) {
	for _, v := range xtablestest.Variants() {
		t.Run("iptables-"+string(v), func(t *testing.T) {
			install(t, v)
			test(t, v)
		})
	}
}

// install makes a variant the host's iptables.
func install(t *testing.T, v xtables.Variant) {
	t.Helper()
	t.Setenv("PATH", xtablestest.Dir(t, v)+":"+os.Getenv("PATH"))
}
