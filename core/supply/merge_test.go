package supply

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/store"
)

func TestMerge(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.6")
	p := []netip.Prefix{netip.MustParsePrefix("10.0.0.16/28")}
	const mac0, mac1 = "52:54:00:00:00:00", "52:54:00:00:00:01"
	for name, tt := range map[string]struct {
		metadata, listed []cloud.ENI
		known            []store.ENI
		want             []cloud.ENI
	}{
		"the API's addresses go before the metadata's": {
			metadata: []cloud.ENI{{ID: "eni-0", MAC: mac0, Addresses: []netip.Addr{a}}},
			listed:   []cloud.ENI{{ID: "eni-0", MAC: mac0, Addresses: []netip.Addr{b}}},
			want:     []cloud.ENI{{ID: "eni-0", MAC: mac0, Addresses: []netip.Addr{b}}},
		},
		"and so do its prefixes": {
			metadata: []cloud.ENI{{ID: "eni-0", MAC: mac0}, {ID: "eni-1", MAC: mac1, Prefixes: p}},
			listed:   []cloud.ENI{{ID: "eni-0", MAC: mac0, Prefixes: p}, {ID: "eni-1", MAC: mac1}},
			want:     []cloud.ENI{{ID: "eni-0", MAC: mac0, Prefixes: p}, {ID: "eni-1", MAC: mac1}},
		},
		"without the API, the metadata's": {
			metadata: []cloud.ENI{{ID: "eni-0", MAC: mac0, Addresses: []netip.Addr{a}}},
			want:     []cloud.ENI{{ID: "eni-0", MAC: mac0, Addresses: []netip.Addr{a}}},
		},
		"the API names an ENI": {
			metadata: []cloud.ENI{{MAC: mac0}, {MAC: mac1}},
			listed:   []cloud.ENI{{ID: "eni-1", MAC: mac1, DeviceIndex: 3}},
			known:    []store.ENI{{ID: "eni-old", MAC: mac1, DeviceIndex: 1}},
			want:     []cloud.ENI{{ID: "eni-1", MAC: mac1, DeviceIndex: 3}},
		},
		"the store names an ENI": {
			metadata: []cloud.ENI{{MAC: mac0}, {MAC: mac1, Addresses: []netip.Addr{a}}},
			known:    []store.ENI{{ID: "eni-1", MAC: mac1, DeviceIndex: 1}},
			want:     []cloud.ENI{{ID: "eni-1", MAC: mac1, DeviceIndex: 1, Addresses: []netip.Addr{a}}},
		},
		"nobody knows a MAC": {
			metadata: []cloud.ENI{{ID: "eth0", Addresses: []netip.Addr{a}}, {ID: "eth1", Addresses: []netip.Addr{b}}},
			listed:   []cloud.ENI{{ID: "eth0", Addresses: []netip.Addr{a}}, {ID: "eth1", Addresses: []netip.Addr{b}}},
			want:     []cloud.ENI{{ID: "eth0", Addresses: []netip.Addr{a}}, {ID: "eth1", Addresses: []netip.Addr{b}}},
		},
	} {
		got := merge(tt.metadata, tt.listed, tt.known)
		if d := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
