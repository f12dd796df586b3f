package supply_test

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/supply"
	"github.com/enichain/enichain/core/warm"
)

// static is the supply of a static pool with one interface, and these addresses.
func (w *world) static(addresses ...string) *supply.Supply {
	w.t.Helper()
	r, err := netconf.ParseIPAM(fmt.Appendf(nil, `{"cniVersion": "1.1.0", "name": "net", "type": "main", "ipam": {
		"type": "eni-ipam", "cloud": "static", "families": ["ipv6"], "cooldown": "0s", "dataDir": %q, "static": {"enis": [{
			"name": "eth0", "primary": true, "subnet": "10.0.0.0/24", "gateway": "10.0.0.1", "primaryIP": "10.0.0.10",
			"subnet6": "2001:db8::/64", "gateway6": "fe80::1", "addresses": ["%s"]}]}}}`,
		filepath.Dir(w.store.Path()), strings.Join(addresses, `", "`)))
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return supply.On(w.store, &r.IPAM, supply.Driver(&r.IPAM, ""), slog.New(slog.DiscardHandler))
}

// A static pool may come to list addresses by their prefix, and the other way: whoever has one keeps it.
func TestAStaticPoolListsTheSameByAPrefix(t *testing.T) {
	t.Parallel()
	const prefix = "2001:db8:0:0:5::/80"
	singles := []string{"2001:db8:0:0:5::1-2001:db8:0:0:5::3"}
	for name, lists := range map[string][2][]string{"then a prefix": {singles, {prefix}}, "then single ones": {{prefix}, singles}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
			before, after := w.static(lists[0]...), w.static(lists[1]...)
			g, err := before.Allocate(t.Context(), warm.Request{Owner: owner("c1")})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				w.ahead += 2 * time.Minute
				if err := after.Learn(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			again, err := after.Allocate(t.Context(), warm.Request{Owner: owner("c1")})
			if err != nil || again.Addresses[0].IP != g.Addresses[0].IP {
				t.Errorf("c1 has %+v, had %+v: %v", again, g, err)
			}
			n := read(w, func(tx *store.Tx) (store.Counts, error) { return tx.Counts("eth0", family.IPv6) })
			want := store.Counts{Free: 2, Assigned: 1}
			if after := lists[1][0]; after == prefix {
				want = store.Counts{Free: store.RangeSize - 1, Assigned: 1, Prefixes: 1, InPrefixes: store.RangeSize, Scattered: store.RangeSize - 1}
			}
			if n.Changed = 0; n != want {
				t.Errorf("%+v, want %+v", n, want)
			}
		})
	}
}

// What is taken out of a static pool is forgotten when it is next looked at, but for what a container has.
func TestAStaticPoolForgetsWhatIsTakenOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	g, err := w.static("2001:db8::10-2001:db8::13").Allocate(t.Context(), warm.Request{Owner: owner("c1")})
	if err != nil {
		t.Fatal(err)
	}
	w.ahead += 2 * time.Minute
	if err := w.static("2001:db8::20").Learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := w.places()
	if _, kept := at[g.Addresses[0].IP]; len(at) != 2 || !kept {
		t.Errorf("left: %v", at)
	}
}
