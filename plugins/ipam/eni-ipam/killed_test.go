package main

import (
	"fmt"
	"testing"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
)

// A process that dies while it grows the pool, or whose driver does, leaks no address: what the cloud has assigned, the
// store knows once the next one has grown it.
func TestKilledWhileThePoolGrows(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		for step, lived := 1, false; !lived; step++ {
			if step > chain.MaxSteps {
				t.Fatalf("still killed at step %d", step)
			}
			t.Run(fmt.Sprint("at step ", step), func(t *testing.T) {
				node := up(t, c, c.Medium, "10.0.0.0/24")
				two := map[string]any{"batch": 2}
				_, _, status := node.Start(node.Call("ADD", "killed", two, chain.KilledAt(step)...))
				if lived = status == 0; lived && step < 10 {
					t.Error("it was not killed at all")
				}
				node.Add("next", two)
				node.Add("third", two)
				if known := node.Agree(); len(known) > 6 {
					t.Errorf("the pool has %v", known)
				}
			})
			if t.Failed() {
				return
			}
		}
	})
}
