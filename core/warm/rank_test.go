package warm

import (
	"net/netip"
	"testing"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/store"
)

func TestRank(t *testing.T) {
	router6 := netip.MustParseAddr("fe80::1")
	both := []family.Family{family.IPv4, family.IPv6}
	for _, tt := range []struct {
		name     string
		families []family.Family
		eni      store.ENI
		want     int
	}{
		{"the primary one", nil, store.ENI{Primary: true}, 0},
		{"another's", nil, store.ENI{DeviceIndex: 2}, 0},
		{"ours", nil, store.ENI{DeviceIndex: 2, Ours: true}, 1},
		{"the primary one is nobody's to delete", nil, store.ENI{Primary: true, Ours: true}, 0},
		{"one that serves both families", both, store.ENI{Primary: true, Gateway6: router6}, 0},
		{"one that serves one of two", both, store.ENI{Primary: true}, 1},
		{"ours that serves both", both, store.ENI{DeviceIndex: 2, Ours: true, Gateway6: router6}, 1},
		{"one that is draining", nil, store.ENI{Draining: true}, -1},
		{"one that is gone", nil, store.ENI{Lost: true}, -1},
	} {
		families := tt.families
		if families == nil {
			families = []family.Family{family.IPv4}
		}
		if got := Of(&netconf.IPAM{Families: families}).rank(tt.eni); got != tt.want {
			t.Errorf("%s: rank %d, want %d", tt.name, got, tt.want)
		}
	}
	if got := Of(&netconf.IPAM{FirstDeviceIndex: 1}).rank(store.ENI{Primary: true}); got != -1 {
		t.Errorf("before the first device index: rank %d, want -1", got)
	}
}
