package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/enichain/enichain/core/store"
)

// Those who wait together on a cold node are served together: by one call where an ENI has room, and where one has to be
// made by the three that EC2 needs for that.
func TestTheFewestChangesOnAColdNode(t *testing.T) {
	const containers = 49 // as many as an ENI of the type holds
	for _, tt := range []struct {
		name             string
		firstDeviceIndex int
		want             map[string]int
	}{
		{"an ENI has room", 0, map[string]int{"": 1, "AssignPrivateIpAddresses": 1}},
		{"an ENI is made", 1, map[string]int{
			"": 3, "CreateNetworkInterface": 1, "AttachNetworkInterface": 1, "ModifyNetworkInterfaceAttribute": 1,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "p4d.24xlarge", "10.0.0.0/23")
			w.ec2 = httptest.NewServer(w.untilAllWait(t, containers))
			t.Cleanup(w.ec2.Close)
			var all sync.WaitGroup
			for i := range containers {
				all.Go(func() {
					if _, failed := w.run(t, "ADD", fmt.Sprint("c", i), map[string]any{"firstDeviceIndex": tt.firstDeviceIndex}); failed != nil {
						t.Errorf("c%d: %v", i, failed)
					}
				})
			}
			all.Wait()
			for action, want := range tt.want {
				if n := w.Calls(action); n != want {
					t.Errorf("changes %q: %d, want %d", action, n, want)
				}
			}
			w.agree(t)
		})
	}
}

// untilAllWait is the EC2 API, which gives its first answer when so many containers wait for an address.
func (w *world) untilAllWait(t *testing.T, containers int) http.Handler {
	var once sync.Once
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		once.Do(func() {
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				waiting := 0
				err := store.At(w.dataDir).Update(t.Context(), func(tx *store.Tx) (err error) {
					waiting, err = tx.Waiting()
					return err
				})
				if err != nil || waiting >= containers {
					return
				}
			}
		})
		w.EC2().ServeHTTP(rw, r)
	})
}
