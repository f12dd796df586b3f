package chaos

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/supply"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/vpcsim"
)

// account is a cloud's, with one instance that matters, and what may happen in it.
type account struct {
	*vpcsim.VPC
	clouds.Cloud
	*ledger
	r          *rand.Rand
	update     func(context.Context, func(*store.Tx) error) error // of the instance's store
	instanceID string
	subnets    []string
	before     []vpcsim.ENI    // all of them, before anything was done
	away       map[string]bool // ENIs that were taken away behind everybody's back
	looked     bool            // whether all of them are known to be away
}

// attached says whether the instance has the ENI. Whoever completes what a dead process began attaches it again.
func (a *account) attached(eni string) bool {
	return slices.ContainsFunc(a.ENIs(a.instanceID), func(e vpcsim.ENI) bool { return e.ID == eni && e.State == vpcsim.Attached })
}

// trouble is what a cloud does now and then.
func (a *account) trouble(t *testing.T) {
	t.Helper()
	action := pick(a.r, append(changes(a.Cloud), a.Action(clouds.List))...)
	fault := vpcsim.Fault{Action: action, Times: 1 + a.r.IntN(2)}
	what := a.r.IntN(13)
	switch what {
	case 0, 1, 2:
		fault.AfterEffect = true
		a.Inject(fault)
	case 3:
		fault.Status, fault.Code = 503, "Unavailable"
		a.Inject(fault)
	case 4:
		fault.Status, fault.Code = 403, "UnauthorizedOperation"
		a.Inject(fault)
	case 5:
		a.Throttle(vpcsim.Bucket{Action: action, Burst: 1, PerSecond: 2})
	case 6:
		a.StaleMetadata(true)
	case 7:
		a.LagMetadata(pick(a.r, 50*time.Millisecond, 500*time.Millisecond))
	case 8:
		if err := a.FillSubnet(pick(a.r, a.subnets...), a.r.IntN(3)); err != nil {
			t.Fatal(err)
		}
	case 9:
		a.calm()
	case 10:
		a.SetDelays(slowly(a.r))
	case 12:
		if err := a.FragmentSubnet(pick(a.r, a.subnets...)); err != nil {
			t.Fatal(err)
		}
	case 11: // an answer that promises more than the task then does; AWS has no tasks
		a.Inject(pick(a.r,
			vpcsim.Fault{Action: vpcsim.Task, Code: "InternalError"},
			vpcsim.Fault{Action: vpcsim.Task, Delay: pick(a.r, 50*time.Millisecond, time.Second)}))
	}
	a.did("trouble %d with %s", what, action)
	if a.r.IntN(3) == 0 {
		a.calm()
	}
}

// slowly is a cloud that takes its time for some steps.
func slowly(r *rand.Rand) vpcsim.Delays {
	some := func() time.Duration { return pick(r, 0, 0, 30*time.Millisecond, 300*time.Millisecond) }
	return vpcsim.Delays{Create: some(), Attach: some(), Detach: some(), Visible: some()}
}

// calm ends all trouble.
func (a *account) calm() {
	a.ClearFaults()
	a.StaleMetadata(false)
	a.LagMetadata(0)
	a.EmptySubnets()
	a.SetDelays(vpcsim.Delays{})
	a.did("calm")
}

// behind is what others do to the account behind our back.
func (a *account) behind(t *testing.T, conf *netconf.IPAM) {
	t.Helper()
	e := pick(a.r, a.ENIs(a.instanceID)...)
	primary, ours := e.DeviceIndex == 0, e.Tags[supply.TagInstance] != ""
	switch a.r.IntN(4) {
	case 0, 1:
		a.loses(e)
	case 2:
		if primary && conf.FirstDeviceIndex == 0 || ours {
			a.gets(e)
		}
	case 3:
		if primary || !ours || e.State != vpcsim.Attached {
			return
		}
		a.excuse(e.Secondary, e.Prefixes)
		a.away[e.ID], a.looked = true, false
		away := pick(a.r, a.DetachENI, a.DeleteENI)
		err := away(e.ID)
		a.did("behind: %s goes: %v", e.ID, err)
	}
}

// loses takes an address or a prefix from an ENI.
func (a *account) loses(e vpcsim.ENI) {
	var err error
	switch {
	case len(e.Prefixes) > 0 && a.r.IntN(2) == 0:
		p := pick(a.r, e.Prefixes...)
		a.excuse(nil, []netip.Prefix{p})
		err = a.RemovePrefix(e.ID, p)
		a.did("behind: %s loses %s: %v", e.ID, p, err)
	case len(e.Secondary) > 0:
		ip := pick(a.r, e.Secondary...)
		a.excuse([]netip.Addr{ip}, nil)
		err = a.RemoveAddress(ip)
		a.did("behind: %s loses %s: %v", e.ID, ip, err)
	}
}

// gets gives an ENI addresses or a prefix.
func (a *account) gets(e vpcsim.ENI) {
	if a.Name == vpcsim.AWS && a.r.IntN(3) == 0 {
		added, err := a.AddPrefixes(e.ID, 1)
		a.did("behind: %s gets %v: %v", e.ID, added, err)
		return
	}
	added, err := a.AddAddresses(e.ID, 1+a.r.IntN(2))
	a.did("behind: %s gets %v: %v", e.ID, added, err)
}

// excuse notes addresses that are being taken away.
func (a *account) excuse(addresses []netip.Addr, prefixes []netip.Prefix) {
	for _, ip := range addresses {
		a.excused[ip] = true
	}
	for _, p := range prefixes {
		for ip := range store.AddressesIn(p) {
			a.excused[ip] = true
		}
	}
}

// asBefore compares the account with what it was before anything was done.
func (a *account) asBefore(t *testing.T) {
	t.Helper()
	a.Wait()
	if diff := cmp.Diff(a.before, a.AllENIs(), cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("the account is not as it was (-before +after):\n%s", diff)
	}
}
