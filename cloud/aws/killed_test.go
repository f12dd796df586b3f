package aws_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/drivertest"
)

// killAtEachCall runs do with a driver that is killed one call later each time, and check after each.
func killAtEachCall(t *testing.T, do func(s *site, d cloud.Driver) error, check func(s *site)) {
	t.Helper()
	drivertest.Killed[*site]{
		Binary: drivertest.Build(t, "eni-cloud-aws"), Least: 4, Do: do, Check: check,
		New: func() *site { return newSite(t) },
		API: func(s *site) http.Handler { return s.EC2() },
		Config: func(s *site, api string) []byte {
			return fmt.Appendf(nil, `{"ec2Endpoint": %q, "imdsEndpoint": %q}`, api, s.imds.URL)
		},
	}.Run(t)
}

func TestKilledCreate(t *testing.T) {
	t.Parallel()
	left := map[string]bool{} // what the killed ones left
	killAtEachCall(t, func(s *site, d cloud.Driver) error {
		_, err := d.CreateENI(t.Context(), s.wanted("t"))
		return err
	}, func(s *site) {
		all := s.made("t")
		if len(all) == 0 {
			left["nothing"] = true
		} else {
			left[fmt.Sprintf("%s, with the instance %v", all[0].State, all[0].DeleteOnTermination)] = true
		}
		if _, err := s.driver(t, nil).CreateENI(t.Context(), s.wanted("t")); err != nil {
			t.Errorf("the repetition: %v", err)
		}
		if err := s.complete("t"); err != nil {
			t.Error(err)
		}
	})
	for _, state := range []string{"nothing", "available, with the instance false", "attached, with the instance false", "attached, with the instance true"} {
		if !left[state] {
			t.Errorf("no driver was killed where it left %q, only %v", state, left)
		}
	}
}

func TestKilledDelete(t *testing.T) {
	t.Parallel()
	eni := func(s *site) string { return s.ENIs(s.Instance.ID)[1].ID }
	killAtEachCall(t, func(s *site, d cloud.Driver) error {
		return d.DeleteENI(t.Context(), s.Instance.ID, eni(s))
	}, func(s *site) {
		for _, e := range s.AllENIs() {
			if e.InstanceID == s.Instance.ID && e.DeviceIndex == 0 || e.InstanceID != s.Instance.ID && e.InstanceID != "" {
				continue
			}
			if err := s.driver(t, nil).DeleteENI(t.Context(), s.Instance.ID, e.ID); err != nil {
				t.Errorf("the repetition: %v", err)
			}
		}
		if all := s.AllENIs(); len(all) != 3 {
			t.Errorf("left behind: %+v", all)
		}
	})
}
