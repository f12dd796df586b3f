package main

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/vpcsim"
)

// byPrefixes is the section of a pool of prefixes, with more of it.
func byPrefixes(more map[string]any) map[string]any {
	conf := map[string]any{"prefixes": true}
	maps.Copy(conf, more)
	return conf
}

// gave checks what the cloud has given, and that the store agrees.
func gave(t *testing.T, n *clouds.Node, prefixes, singles int) {
	t.Helper()
	n.Agree()
	p, s := 0, 0
	for _, e := range n.ENIs() {
		p, s = p+len(e.Prefixes), s+len(e.Secondary)
	}
	if p != prefixes || s != singles {
		t.Errorf("the cloud has given %d prefixes and %d addresses, want %d and %d", p, s, prefixes, singles)
	}
}

// warmTo has an ADD fill the pool until so many addresses are there, its own counted.
func warmTo(t *testing.T, n *clouds.Node, addresses int, more map[string]any) {
	t.Helper()
	conf := byPrefixes(map[string]any{"warm": map[string]int{"min": addresses - 1, "target": addresses - 1}})
	maps.Copy(conf, more)
	n.Add("warm", conf)
	n.Eventually(fmt.Sprint(addresses, " are there"), func(free int, _ []vpcsim.ENI) bool { return free >= addresses-1 })
	if err := n.AwaitEnd(); err != nil {
		t.Fatal(err)
	}
}

func TestContainersGetAddressesOfPrefixes(t *testing.T) {
	t.Parallel()
	n := up(t, clouds.AWS(), clouds.AWS().Small, "10.0.0.0/24")
	seen := map[netip.Addr]bool{}
	for i := range 17 {
		ip := n.Add(fmt.Sprint("c", i), byPrefixes(nil))
		if seen[ip] {
			t.Fatalf("%s is given twice", ip)
		}
		seen[ip] = true
	}
	gave(t, n, 2, 0)
	if calls := n.Calls(n.Action(clouds.Assign)); calls != 2 {
		t.Errorf("%d calls for 17 containers, want 2", calls)
	}
	if again := n.Add("c0", byPrefixes(nil)); !seen[again] {
		t.Errorf("c0 has %s now", again)
	}
}

func TestFiftyAtOnceWithPrefixes(t *testing.T) {
	t.Parallel()
	n := up(t, clouds.AWS(), clouds.AWS().Small, "10.0.0.0/24")
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if _, failed := n.Run("ADD", fmt.Sprint("c", i), byPrefixes(nil)); failed != nil {
				t.Errorf("c%d: %v", i, failed)
			}
		})
	}
	all.Wait()
	if calls := n.Calls(n.Action(clouds.Assign)); calls > 3 {
		t.Errorf("%d calls for 50 containers", calls)
	}
	gave(t, n, 4, 0)
}

// The operator is told when the node is set up, and not when its addresses are used up.
func TestACloudWithoutPrefixesSaysSo(t *testing.T) {
	t.Parallel()
	n := up(t, clouds.Tencent(), clouds.Tencent().Small, "10.0.0.0/24")
	for _, verb := range []string{"ADD", "STATUS"} {
		_, failed := n.Run(verb, "c1", byPrefixes(nil))
		if failed == nil || failed.Code != cnierr.Config || !strings.Contains(failed.Msg+failed.Details, "tencent has none") {
			t.Errorf("%s: %+v, want code %d and the reason", verb, failed, cnierr.Config)
		}
	}
	if calls := n.Calls(""); calls > 0 {
		t.Errorf("%d calls", calls)
	}
	n.Del("c1", byPrefixes(nil))
}

// What containers leave goes back by prefixes, and their ENI with them.
func TestThePoolGivesPrefixesBack(t *testing.T) {
	t.Parallel()
	n := up(t, clouds.AWS(), clouds.AWS().Small, "10.0.0.0/24")
	conf := byPrefixes(map[string]any{"cooldown": "0s", "eniIdle": "0s", "warm": map[string]int{"max": 1}})
	warmTo(t, n, 90, nil)
	n.Add("c1", conf)
	n.Del("warm", conf)
	n.Eventually("one prefix is left, on one ENI", func(_ int, enis []vpcsim.ENI) bool {
		return len(enis) == 1 && len(enis[0].Prefixes) == 1
	})
	settled(t, n)
}

// An ENI that is full of prefixes gives way to a new one, which is made with its prefixes.
func TestANewENIHasPrefixes(t *testing.T) {
	t.Parallel()
	n := up(t, clouds.AWS(), clouds.AWS().Small, "10.0.0.0/24")
	warmTo(t, n, 81, nil)
	enis := n.ENIs()
	if len(enis) != 2 || len(enis[0].Prefixes) != 5 || len(enis[1].Prefixes) != 1 {
		t.Errorf("%+v, want 5 prefixes on the first of two ENIs and one on the second", enis)
	}
	if calls := n.Calls(n.Action(clouds.Assign)); calls != 2 { // for the ADD, and behind it
		t.Errorf("%d calls to assign, want 2: a new ENI comes with its prefixes", calls)
	}
	gave(t, n, 6, 0)
}
