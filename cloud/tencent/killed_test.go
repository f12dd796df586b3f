package tencent_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/drivertest"
	"github.com/enichain/enichain/test/vpcsim"
)

// killAtEachCall runs do with a driver that is killed one call later each time, and check after each.
func killAtEachCall(t *testing.T, do func(s *site, d cloud.Driver) error, check func(s *site)) {
	t.Helper()
	drivertest.Killed[*site]{
		Binary: drivertest.Build(t, "eni-cloud-tencent"), Least: 3, Do: do, Check: check,
		New: func() *site { return newSite(t) },
		API: func(s *site) http.Handler { return s.Tencent() },
		Config: func(s *site, api string) []byte {
			return fmt.Appendf(nil, `{"vpcEndpoint": %q, "metadataEndpoint": %q}`, api, s.metadata.URL)
		},
	}.Run(t)
}

// Whenever a driver that makes an ENI is killed, the repetition leaves one ENI, attached, with all its addresses.
func TestKilledCreate(t *testing.T) {
	t.Parallel()
	killAtEachCall(t, func(s *site, d cloud.Driver) error {
		_, err := d.CreateENI(t.Context(), s.create("t", 2))
		return err
	}, func(s *site) {
		e, err := s.driver(t, nil).CreateENI(t.Context(), s.create("t", 2))
		if err != nil {
			t.Errorf("the repetition: %v", err)
			return
		}
		if all := s.made(); len(all) != 1 || all[0].ID != e.ID || all[0].State != vpcsim.Attached || len(all[0].Secondary) != 2 {
			t.Errorf("made: %+v", all)
		}
	})
}

// Whenever a driver that deletes an ENI is killed, the repetition leaves none.
func TestKilledDelete(t *testing.T) {
	t.Parallel()
	killAtEachCall(t, func(s *site, d cloud.Driver) error {
		return d.DeleteENI(t.Context(), s.Instance.ID, s.eni(1).ID)
	}, func(s *site) {
		s.Wait()
		for _, e := range s.AllENIs() {
			if e.DeviceIndex == 0 && e.InstanceID != "" {
				continue
			}
			if err := s.driver(t, nil).DeleteENI(t.Context(), s.Instance.ID, e.ID); err != nil {
				t.Errorf("the repetition: %v", err)
			}
		}
		if all := s.All(); len(all) != 2 {
			t.Errorf("left behind: %+v", all)
		}
	})
}

// Whenever a driver that assigns addresses is killed, the next to ask is told of all that were assigned.
func TestKilledAssign(t *testing.T) {
	t.Parallel()
	killAtEachCall(t, func(s *site, d cloud.Driver) error {
		_, err := d.Assign(t.Context(), s.eni(1).ID, 2)
		return err
	}, func(s *site) {
		enis, err := s.driver(t, nil).ENIs(t.Context(), s.Instance.ID)
		if held := s.Held(false)[1].Addresses; err != nil || len(enis[1].Addresses) != len(held) {
			t.Errorf("ENIs: %+v, error %v; held: %v", enis, err, held)
		}
	})
}
