package chaos

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/enichain/enichain/core/family"
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
	before     []vpcsim.ENI // all of them, before anything was done
	conf       *netconf.IPAM
	away       map[string]bool // ENIs that were taken away behind everybody's back
	// gave is what a pool that does not give its family need not know of: what others gave behind everybody's back, and what
	// the ENIs had when the store went with a boot.
	gave   addresses
	looked bool // whether all of them are known to be away
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
func (a *account) behind(t *testing.T) {
	t.Helper()
	e := pick(a.r, a.ENIs(a.instanceID)...)
	switch a.r.IntN(5) {
	case 0, 1:
		a.loses(e)
	case 2:
		if a.used(e) {
			a.gets(e)
		}
	case 3:
		if to := pick(a.r, a.ENIs(a.instanceID)...); to.ID != e.ID && to.SubnetID == e.SubnetID && a.used(to) {
			a.moves(e, to)
		}
	case 4:
		if e.DeviceIndex == 0 || e.Tags[supply.TagInstance] == "" || e.State != vpcsim.Attached {
			return
		}
		a.excuse(e.Secondary, e.Prefixes)
		a.excuse(e.IPv6, e.Prefixes6)
		a.away[e.ID], a.looked = true, false
		away := pick(a.r, a.DetachENI, a.DeleteENI)
		err := away(e.ID)
		a.did("behind: %s goes: %v", e.ID, err)
	}
}

// gaveAll notes what the ENIs have.
func (a *account) gaveAll() {
	for _, e := range a.ENIs(a.instanceID) {
		a.gave.add(slices.Concat(e.Secondary, e.IPv6)...)
		a.gave.addPrefixes(slices.Concat(e.Prefixes, e.Prefixes6)...)
	}
}

// used says whether the pool uses an ENI.
func (a *account) used(e vpcsim.ENI) bool {
	return e.DeviceIndex == 0 && a.conf.FirstDeviceIndex == 0 || e.Tags[supply.TagInstance] != ""
}

// loses takes an address or a prefix from an ENI.
func (a *account) loses(e vpcsim.ENI) {
	var err error
	switch {
	case len(e.Prefixes6) > 0 && a.r.IntN(3) == 0:
		p := pick(a.r, e.Prefixes6...)
		a.excuse(nil, []netip.Prefix{p})
		err = a.RemoveIPv6Prefix(e.ID, p)
		a.did("behind: %s loses %s: %v", e.ID, p, err)
	case len(e.IPv6) > 0 && a.r.IntN(3) == 0:
		ip := pick(a.r, e.IPv6...)
		a.excuse([]netip.Addr{ip}, nil)
		err = a.RemoveIPv6(e.ID, ip)
		a.did("behind: %s loses %s: %v", e.ID, ip, err)
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
	if a.r.IntN(3) == 0 {
		most := 1
		if a.Name == vpcsim.AWS {
			most = 2
		}
		addresses, prefixes, err := a.AddIPv6(e.ID, a.r.IntN(3), a.r.IntN(most))
		a.gave.add(addresses...)
		a.gave.addPrefixes(prefixes...)
		a.did("behind: %s gets %v and %v: %v", e.ID, addresses, prefixes, err)
		return
	}
	if a.Name == vpcsim.AWS && a.r.IntN(3) == 0 {
		added, err := a.AddPrefixes(e.ID, 1)
		a.gave.addPrefixes(added...)
		a.did("behind: %s gets %v: %v", e.ID, added, err)
		return
	}
	added, err := a.AddAddresses(e.ID, 1+a.r.IntN(2))
	a.gave.add(added...)
	a.did("behind: %s gets %v: %v", e.ID, added, err)
}

// moves takes addresses or a prefix of IPv6 from an ENI, and gives them to another: what is given back of IPv4 the cloud
// gives others by itself.
func (a *account) moves(e, to vpcsim.ENI) {
	moved := vpcsim.ENI{IPv6: e.IPv6}
	if len(e.Prefixes6) > 0 {
		moved = vpcsim.ENI{Prefixes6: []netip.Prefix{pick(a.r, e.Prefixes6...)}}
	}
	a.excuse(moved.IPv6, moved.Prefixes6)
	err := a.MoveIPv6(e.ID, to.ID, moved.IPv6, moved.Prefixes6)
	a.did("behind: %v and %v move from %s to %s: %v", moved.IPv6, moved.Prefixes6, e.ID, to.ID, err)
}

// takeBack takes what others gave away again, where the pool has not taken it: the network does not give its family.
func (a *account) takeBack(t *testing.T) {
	t.Helper()
	s := a.snapshot(t)
	theirs := func(ip netip.Addr) bool {
		return !slices.Contains(a.conf.Families, family.Of(ip)) && a.gave.has(ip) && !s.knows(ip)
	}
	var errs []error
	for _, e := range a.ENIs(a.instanceID) {
		for _, ip := range slices.Concat(e.Secondary, e.IPv6) {
			switch {
			case !theirs(ip):
			case ip.Is4():
				errs = append(errs, a.RemoveAddress(ip))
			default:
				errs = append(errs, a.RemoveIPv6(e.ID, ip))
			}
		}
		for _, p := range slices.Concat(e.Prefixes, e.Prefixes6) {
			switch {
			case !theirs(p.Addr()):
			case p.Addr().Is4():
				errs = append(errs, a.RemovePrefix(e.ID, p))
			default:
				errs = append(errs, a.RemoveIPv6Prefix(e.ID, p))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Errorf("take back: %v", err)
	}
}

// excuse notes addresses that are being taken away.
func (a *account) excuse(ips []netip.Addr, prefixes []netip.Prefix) {
	a.excused.add(ips...)
	a.excused.addPrefixes(prefixes...)
}

// someAddress is one that an ENI has, or that nobody has, of a family that the network gives.
func (a *account) someAddress() netip.Addr {
	var all []netip.Addr
	for _, e := range a.ENIs(a.instanceID) {
		all = append(all, slices.Concat(e.Secondary, e.IPv6, []netip.Addr{a.within(e.Subnet, 64)})...)
		for _, p := range e.Prefixes {
			all = append(all, a.within(p, 16))
		}
		for _, p := range e.Prefixes6 {
			all = append(all, a.within(p, 256), a.within(p, 1<<20))
		}
		if e.Subnet6.IsValid() {
			all = append(all, a.within(e.Subnet6, 256))
		}
	}
	return pick(a.r, slices.DeleteFunc(all, func(ip netip.Addr) bool { return !slices.Contains(a.conf.Families, family.Of(ip)) })...)
}

// within is one of the first addresses of a prefix, the very first aside.
func (a *account) within(p netip.Prefix, first int) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	last := b[len(b)-4:]
	binary.BigEndian.PutUint32(last, binary.BigEndian.Uint32(last)+1+uint32(a.r.IntN(first-1)))
	ip, _ := netip.AddrFromSlice(b)
	return ip
}

// asBefore compares the account with what it was before anything was done.
func (a *account) asBefore(t *testing.T) {
	t.Helper()
	a.Wait()
	if diff := cmp.Diff(a.before, a.AllENIs(), cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("the account is not as it was (-before +after):\n%s", diff)
	}
}
