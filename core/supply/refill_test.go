package supply_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/enichain/enichain/cloud"
)

// A refill that finds another at work leaves: what it came for is done by that one, though it decided before.
func TestARefillSeesWhatComesWhileItIsAtWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", 1, "10.0.0.0/24")
	few := map[string]any{"prefixes": false, "cooldown": "0s", "warm": map[string]int{"min": 0, "target": 1, "max": 2}}
	for i := range 8 {
		w.add(fmt.Sprint("c", i), few)
	}
	for i := range 4 {
		w.del(fmt.Sprint("c", i), few)
	}
	once := true
	w.driver = releasing{w.driver, func() {
		if !once {
			return
		}
		once = false
		for i := range 4 {
			w.del(fmt.Sprint("c", 4+i), few)
		}
		w.refill(few)
	}}
	w.refill(few)
	w.agree(0, 1)
}

// releasing is a driver that calls before it unassigns.
type releasing struct {
	cloud.Driver
	before func()
}

func (d releasing) Unassign(ctx context.Context, eni string, addresses []netip.Addr) error {
	d.before()
	return d.Driver.Unassign(ctx, eni, addresses)
}
