//go:build kube

package kube

import (
	"net/netip"
	"testing"
)

// Two nodes become ready, and a pod of one reaches a pod of the other, each by its VPC address.
func TestPodsReachEachOther(t *testing.T) {
	c := up(t)
	for _, w := range c.workers {
		if err := c.createPod("on-"+w.Name, podSpec(w.Name, "")); err != nil {
			t.Fatal(err)
		}
	}
	pods, err := c.awaitPods(len(c.workers))
	if err != nil {
		t.Fatal(err)
	}
	for i, from := range pods {
		to := netip.AddrPortFrom(pods[1-i].ip(), podPort)
		if seen, err := c.callFrom(from, to); err != nil || seen != from.ip() {
			t.Errorf("%s is seen as %s, want %s: %v", from.Metadata.Name, seen, from.ip(), err)
		}
	}
}
