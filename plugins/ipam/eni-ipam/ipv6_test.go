package main

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/vpcsim"
)

// Subnets with both families.
const (
	dual0 = "10.0.0.0/24 2001:db8:0:1::/64"
	dual1 = "10.0.1.0/24 2001:db8:0:2::/64"
)

// source is where addresses of IPv6 come from.
type source struct {
	clouds.Cloud
	size     clouds.Size
	prefixes bool // they are of prefixes
}

// sources are both clouds, and of AWS an instance type without prefixes.
func sources() map[string]source {
	return map[string]source{
		"aws, prefixes":  {clouds.AWS(), clouds.AWS().Medium, true},
		"aws, addresses": {clouds.AWS(), clouds.AWS().Old, false},
		"tencent":        {clouds.Tencent(), clouds.Tencent().Medium, false},
	}
}

func eachSource(t *testing.T, test func(t *testing.T, s source)) {
	t.Helper()
	for name, s := range sources() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

// families is the section of a network that gives them, with more of it.
func families(more map[string]any, of ...family.Family) map[string]any {
	conf := map[string]any{"families": of}
	maps.Copy(conf, more)
	return conf
}

func dual(more map[string]any) map[string]any { return families(more, family.IPv4, family.IPv6) }

func six(more map[string]any) map[string]any { return families(more, family.IPv6) }

// add is an ADD that must succeed.
func add(t *testing.T, n *clouds.Node, id string, conf map[string]any) *types100.Result {
	t.Helper()
	result, failed := n.Run("ADD", id, conf)
	if failed != nil {
		t.Fatalf("ADD of %s: %v", id, failed)
	}
	return result
}

// owns returns the addresses of a container, by the store.
func owns(n *clouds.Node, id string) (held []store.Address) {
	n.Update(func(tx *store.Tx) (err error) {
		held, err = tx.AddressesOf(store.Owner{Network: n.Network, ContainerID: id, IfName: "eth0"})
		return err
	})
	return held
}

func TestAnAddressOfEachFamily(t *testing.T) {
	eachSource(t, func(t *testing.T, s source) {
		n := up(t, s.Cloud, s.size, dual0)
		seen := map[netip.Addr]bool{}
		for i := range s.size.Each - 1 { // the primary ENI has an address of its own of IPv6, too
			id := fmt.Sprint("c", i)
			r := add(t, n, id, dual(nil))
			ips := chain.IPs(r)
			if len(ips) != 2 || !ips[0].Is4() || !ips[1].Is6() || seen[ips[0]] || seen[ips[1]] {
				t.Fatalf("%s was given %v", id, ips)
			}
			seen[ips[0]], seen[ips[1]] = true, true
			if got := fmt.Sprint(r.IPs[0].Gateway, " ", r.IPs[1].Gateway, " ", r.IPs[1].Address.Mask, " ", r.Routes); got !=
				"169.254.1.1 fe80::1 ffffffffffffffffffffffffffffffff [{Dst:{IP:0.0.0.0 Mask:00000000} GW:169.254.1.1 MTU:0 AdvMSS:0 Priority:0 Table:<nil> Scope:<nil>}"+
					" {Dst:{IP::: Mask:00000000000000000000000000000000} GW:fe80::1 MTU:0 AdvMSS:0 Priority:0 Table:<nil> Scope:<nil>}]" {
				t.Errorf("by %s", got)
			}
			if again := chain.IPs(add(t, n, id, dual(nil))); !slices.Equal(again, ips) {
				t.Errorf("%s was given %v, and then %v", id, ips, again)
			}
			if held := owns(n, id); len(held) != 2 || held[0].Prefix.IsValid() || held[1].Prefix.IsValid() != s.prefixes {
				t.Errorf("%s holds %+v", id, held)
			}
		}
		calls := n.Calls("AssignIpv6Addresses")
		if s.prefixes && calls != 1 || calls == 0 {
			t.Errorf("%d calls for IPv6", calls)
		}
		n.Agree()
		for i := range s.size.Each - 1 {
			n.Del(fmt.Sprint("c", i), dual(nil))
		}
		if held := owns(n, "c1"); len(held) != 0 {
			t.Errorf("after DEL c1 holds %+v", held)
		}
		if next := chain.IPs(add(t, n, "next", dual(map[string]any{"maxIPs": s.size.Each}))); seen[next[1]] {
			t.Errorf("%s is given again before its cool-down is over", next[1])
		}
	})
}

func TestIPv6Only(t *testing.T) {
	eachSource(t, func(t *testing.T, s source) {
		n := up(t, s.Cloud, s.size, dual0)
		ips := chain.IPs(add(t, n, "c1", six(nil)))
		if len(ips) != 1 || !netip.MustParsePrefix("2001:db8:0:1::/64").Contains(ips[0]) {
			t.Errorf("given %v", ips)
		}
		if calls := n.Calls(s.Action(clouds.Assign)); calls > 0 {
			t.Errorf("%d calls for IPv4", calls)
		}
		r := add(t, n, "c2", six(map[string]any{"addressing": "subnet"}))
		if got := r.IPs[0]; !strings.HasSuffix(got.Address.String(), "/64") || !got.Gateway.IsLinkLocalUnicast() {
			t.Errorf("of the subnet: %v", got)
		}
		n.Agree()
	})
}

// Whoever cannot have both has none.
func TestBothOrNone(t *testing.T) {
	eachSource(t, func(t *testing.T, s source) {
		n := up(t, s.Cloud, s.size, dual0)
		add(t, n, "c1", dual(map[string]any{"maxIPs": 1, "batch": 1}))
		_, failed := n.Run("ADD", "c2", dual(map[string]any{"maxIPs": 1}))
		if failed == nil || failed.Code != cnierr.TryAgainLater || !strings.Contains(failed.Msg, `"maxIPs" is 1`) {
			t.Errorf("IPv4 is exhausted: %v", failed)
		}
		if held := owns(n, "c2"); len(held) != 0 {
			t.Errorf("c2 holds %+v", held)
		}
		n.Agree()

		four := up(t, s.Cloud, s.size, "10.0.0.0/24")
		_, failed = four.Run("ADD", "c1", dual(map[string]any{"maxENIs": 1}))
		if failed == nil || failed.Code != cnierr.Cloud || !strings.Contains(failed.Msg, "has no IPv6: subnet-0 has no range of it") ||
			!strings.Contains(failed.Details, `"families"`) {
			t.Errorf("a subnet without IPv6: %v", failed)
		}
		if held := owns(four, "c1"); len(held) != 0 {
			t.Errorf("c1 holds %+v", held)
		}
		four.Add("c2", nil) // the other networks of the node go on
		four.Agree()
	})
}

func TestRequestedAddressesOfBothFamilies(t *testing.T) {
	eachSource(t, func(t *testing.T, s source) {
		n := up(t, s.Cloud, s.size, dual0)
		have := chain.IPs(add(t, n, "c1", dual(nil)))
		n.Del("c1", dual(map[string]any{"cooldown": "0s"}))
		n.Args = "IP=" + have[1].String()
		got := chain.IPs(add(t, n, "c2", dual(nil)))
		if got[1] != have[1] || !got[0].Is4() {
			t.Errorf("asked for %s, given %v", have[1], got)
		}
		if _, failed := n.Run("ADD", "c3", dual(nil)); failed == nil || failed.Code != cnierr.RequestedAddress {
			t.Errorf("asked for what another has: %v", failed)
		}
		if held := owns(n, "c3"); len(held) != 0 {
			t.Errorf("c3 holds %+v", held)
		}
		if _, failed := n.Run("ADD", "c4", nil); failed == nil || failed.Code != cnierr.RequestedAddress || !strings.Contains(failed.Msg, "no addresses of IPv6") {
			t.Errorf("asked a network of IPv4 for IPv6: %v", failed)
		}
	})
}

// An ENI that is made for containers of both families has both, and goes when neither is in use.
func TestANewENIHasBothFamilies(t *testing.T) {
	eachSource(t, func(t *testing.T, s source) {
		n := up(t, s.Cloud, s.size, dual0)
		conf := dual(map[string]any{"warm": map[string]int{"max": 1}, "eniIdle": "0s", "cooldown": "0s"})
		last := fmt.Sprint("c", s.size.Each)
		for i := range s.size.Each + 1 {
			add(t, n, fmt.Sprint("c", i), conf)
		}
		enis := n.ENIs()
		if held := owns(n, last); len(enis) != 2 || len(held) != 2 || held[0].ENI != enis[1].ID || held[1].ENI != enis[1].ID {
			t.Fatalf("the last holds %+v, on the ENIs %+v", held, enis)
		}
		n.Agree()
		n.Del(last, conf)
		n.Del("c0", conf)
		comeAndGo(t, n, conf)
		n.Eventually("the ENI is gone", func(_ int, enis []vpcsim.ENI) bool { return len(enis) == 1 })
		settled(t, n)
	})
}

// comeAndGo is a container that does: what has cooled down is freed by whoever comes next.
func comeAndGo(t *testing.T, n *clouds.Node, conf map[string]any) {
	t.Helper()
	atRest(t, n)
	add(t, n, "late", conf)
	n.Del("late", conf)
	atRest(t, n)
}

// A subnet without IPv6 is no reason to make no ENI for IPv4, and an ENI without it none to give no IPv6 of another.
func TestAnENIWithoutIPv6(t *testing.T) {
	eachSource(t, func(t *testing.T, s source) {
		n := up(t, s.Cloud, s.size, dual0, "10.0.1.0/24")
		conf := dual(nil)
		first := chain.IPs(add(t, n, "c0", conf))
		for i := range s.size.Each { // IPv4 of the primary ENI is not enough for all
			if s.prefixes || i < s.size.Each-2 {
				add(t, n, fmt.Sprint("d", i), conf)
			}
		}
		if s.prefixes {
			held := owns(n, fmt.Sprint("d", s.size.Each-1))
			if held[0].ENI == held[1].ENI || family.Of(held[1].IP) != family.IPv6 {
				t.Errorf("the last holds %+v; the first %v", held, first)
			}
		}
		n.Agree()
	})
}

func TestFiftyAtOnceOfBothFamilies(t *testing.T) {
	eachSource(t, func(t *testing.T, s source) {
		size := s.Large
		if !s.prefixes && s.Name == vpcsim.AWS {
			return // no type without prefixes has room for fifty
		}
		n := up(t, s.Cloud, size, dual0, dual1)
		const containers = 50
		results := make([]*types100.Result, containers)
		release, err := n.Store().LockGrowth(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for i := range containers {
			all.Go(func() { results[i], _ = n.Run("ADD", fmt.Sprint("c", i), dual(map[string]any{"timeout": "60s"})) })
		}
		allWait(n, containers)
		release()
		all.Wait()
		seen := map[netip.Addr]bool{}
		for i, r := range results {
			if r == nil || len(r.IPs) != 2 {
				t.Fatalf("c%d was given %v", i, r)
			}
			for _, ip := range chain.IPs(r) {
				if seen[ip] {
					t.Errorf("%s is given twice", ip)
				}
				seen[ip] = true
			}
		}
		if n.Calls("AssignIpv6Addresses") > 2 || n.Calls(s.Action(clouds.Assign)) > 2 {
			t.Errorf("%d calls for IPv6, %d for IPv4", n.Calls("AssignIpv6Addresses"), n.Calls(s.Action(clouds.Assign)))
		}
		n.Agree()
	})
}

// Of IPv6, too, some are kept warm, and single addresses that are too many go back; a prefix stays.
func TestWarmIPv6(t *testing.T) {
	eachSource(t, func(t *testing.T, s source) {
		n := up(t, s.Cloud, s.size, dual0)
		conf := six(map[string]any{"batch": 4, "cooldown": "0s", "warm": map[string]int{"min": 1, "target": 2, "max": 3}})
		for i := range 4 {
			add(t, n, fmt.Sprint("c", i), conf)
		}
		atRest(t, n)
		for i := range 4 {
			n.Del(fmt.Sprint("c", i), conf)
		}
		for range 2 {
			comeAndGo(t, n, conf)
		}
		n.Eventually("what is too much has gone back", func(_ int, enis []vpcsim.ENI) bool {
			return s.prefixes && len(enis[0].Prefixes6) == 1 || !s.prefixes && len(enis[0].IPv6) <= 3
		})
		settled(t, n)
	})
}

func TestKilledWhileIPv6Grows(t *testing.T) {
	eachSource(t, func(t *testing.T, s source) {
		for step, lived := 1, false; !lived; step += 2 {
			if step > chain.MaxSteps {
				t.Fatalf("still killed at step %d", step)
			}
			n := up(t, s.Cloud, s.size, dual0)
			conf := dual(map[string]any{"batch": 2})
			_, _, status := n.Start(n.Call("ADD", "killed", conf, chain.KilledAt(step)...))
			if lived = status == 0; lived && step < 10 {
				t.Error("it was not killed at all")
			}
			add(t, n, "next", conf)
			add(t, n, "third", conf)
			if known := n.Agree(); len(known) > 12 {
				t.Errorf("at step %d the pool has %v", step, known)
			}
			if enis := n.ENIs(); len(enis[0].Prefixes6) > 2 {
				t.Errorf("at step %d the ENI has %v", step, enis[0].Prefixes6)
			}
			if t.Failed() {
				return
			}
		}
	})
}

// A pool without a cloud has the addresses and prefixes of IPv6 that the conflist lists.
func TestIPv6WithoutACloud(t *testing.T) {
	t.Parallel()
	n := up(t, clouds.AWS(), clouds.AWS().Small, "10.0.0.0/24")
	delete(n.IPAM, "driver")
	list := func(addresses ...string) map[string]any {
		return dual(map[string]any{"cloud": "static", "cooldown": "1h", "timeout": "1s", "static": map[string]any{
			"vpcCIDRs": []string{"10.0.0.0/16", "fd00::/48"},
			"enis": []map[string]any{{
				"name": "eth0", "primary": true, "subnet": "10.0.0.0/24", "gateway": "10.0.0.1", "primaryIP": "10.0.0.10",
				"subnet6": "fd00::/64", "gateway6": "fe80::1", "primaryIP6": "fd00::a", "addresses": append(addresses, "10.0.0.16-10.0.0.31"),
			}},
		}})
	}
	singles := list("fd00::10-fd00::11")
	for i, want := range []string{"fd00::10", "fd00::11"} {
		if ips := chain.IPs(add(t, n, fmt.Sprint("c", i), singles)); ips[1].String() != want {
			t.Errorf("given %v, want %s", ips, want)
		}
	}
	_, failed := n.Run("ADD", "c2", singles)
	if failed == nil || failed.Code != cnierr.TryAgainLater || !strings.Contains(failed.Msg, "takes more addresses of IPv6: eth0 is full with 2") {
		t.Errorf("one too many: %v", failed)
	}
	n = n.Anew()
	if ips := chain.IPs(add(t, n, "c0", list("fd00:0:0:0:5::/80"))); ips[1].String() != "fd00::5:0:0:1" {
		t.Errorf("of a prefix: %v", ips)
	}
}
