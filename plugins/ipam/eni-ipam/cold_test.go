package main

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/clouds"
)

// Those who wait together on a cold node are served together: by one call where an ENI has room, and where one has to be
// made by those that the cloud needs for that.
func TestTheFewestChangesOnAColdNode(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		for _, tt := range []struct {
			name             string
			containers       int
			subnets          []string // with an ENI each
			firstDeviceIndex int
			call             clouds.Call
			times            int
		}{
			{"an ENI has room", c.Large.Each, []string{"10.0.0.0/24"}, 0, clouds.Assign, 1},
			{"two ENIs have room", 50, []string{"10.0.0.0/24", "10.0.1.0/24"}, 0, clouds.Assign, 2},
			{"an ENI is made", c.Large.Each, []string{"10.0.0.0/24"}, 1, clouds.CreateENI, 1},
		} {
			t.Run(tt.name, func(t *testing.T) {
				node := up(t, c, c.Large, tt.subnets...)
				growing, err := node.Store().LockGrowth(t.Context()) // none grows the pool before all wait
				if err != nil {
					t.Fatal(err)
				}
				var all sync.WaitGroup
				for i := range tt.containers {
					all.Go(func() {
						if _, failed := node.Run("ADD", fmt.Sprint("c", i), map[string]any{"firstDeviceIndex": tt.firstDeviceIndex}); failed != nil {
							t.Errorf("c%d: %v", i, failed)
						}
					})
				}
				allWait(node, tt.containers)
				growing()
				all.Wait()
				for _, action := range c.Actions(tt.call) {
					if n := node.Calls(action); n != tt.times {
						t.Errorf("%s was called %d times, want %d", action, n, tt.times)
					}
				}
				if n, want := node.Calls(c.Action(clouds.AnyCall)), tt.times*len(c.Actions(tt.call)); n != want {
					t.Errorf("%d changes, want %d", n, want)
				}
				node.Agree()
			})
		}
	})
}

// allWait returns when so many containers wait for an address, or soon never will.
func allWait(node *clouds.Node, containers int) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var waiting map[family.Family]int
		node.Update(func(tx *store.Tx) (err error) {
			waiting, err = tx.Waiting()
			return err
		})
		if waiting[family.IPv4] >= containers {
			return
		}
	}
}
