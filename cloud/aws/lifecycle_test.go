package aws_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/drivertest"
	"github.com/enichain/enichain/test/vpcsim"
)

// wanted asks for an ENI of two addresses.
func (s *site) wanted(token string) cloud.CreateENIRequest {
	return cloud.CreateENIRequest{
		InstanceID: s.Instance.ID, SubnetID: "subnet-0c", Token: token, Addresses: 2, Tags: map[string]string{"owner": "a test"},
	}
}

// made returns the ENIs that carry the token, in truth.
func (s *site) made(token string) []vpcsim.ENI {
	var found []vpcsim.ENI
	for _, e := range s.AllENIs() {
		if e.Tags[cloud.TagToken] == token {
			found = append(found, e)
		}
	}
	return found
}

// complete says what is wrong with what a request made, if anything is.
func (s *site) complete(token string) error {
	all := s.made(token)
	if len(all) != 1 {
		return fmt.Errorf("want one ENI, got %+v", all)
	}
	if e := all[0]; e.State != vpcsim.Attached || e.InstanceID != s.Instance.ID || !e.DeleteOnTermination || len(e.Secondary) != 2 {
		return fmt.Errorf("not complete: %+v", e)
	}
	return nil
}

// Another process took the device index between the look and the attachment.
func TestDeviceIndexIsTaken(t *testing.T) {
	s := newSite(t)
	s.Inject(vpcsim.Fault{Action: "AttachNetworkInterface", Code: "InvalidParameterValue", Message: "Instance already has an interface attached at device index '2'."})
	e, err := s.driver(t, nil).CreateENI(t.Context(), s.wanted("t"))
	if err != nil || e.DeviceIndex != 3 {
		t.Errorf("want device index 3, got %+v, error %v", e, err)
	}
	if err := s.complete("t"); err != nil {
		t.Error(err)
	}
}

func TestDeviceIndexAsAskedFor(t *testing.T) {
	s := newSite(t)
	r := s.wanted("t")
	r.DeviceIndex = 5
	d := s.driver(t, nil)
	if e, err := d.CreateENI(t.Context(), r); err != nil || e.DeviceIndex != 5 {
		t.Errorf("want device index 5, got %+v, error %v", e, err)
	}
	if err := s.VPC.DeleteENI(s.made("t")[0].ID); err != nil {
		t.Fatal(err)
	}
	r.DeviceIndex, r.Token = 1, "u" // which is taken
	_, err := d.CreateENI(t.Context(), r)
	drivertest.WantClass(t, err, cloud.Invalid)
	if left := s.made("u"); len(left) != 0 {
		t.Errorf("left behind: %+v", left)
	}
}

// A device index that was freed is used again.
func TestDeviceIndexOfAHole(t *testing.T) {
	s := newSite(t)
	if _, err := s.AddENI(s.Instance.ID, "subnet-0a", 2, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	if err := s.VPC.DeleteENI(s.ENIs(s.Instance.ID)[1].ID); err != nil {
		t.Fatal(err)
	}
	if e, err := s.driver(t, nil).CreateENI(t.Context(), s.wanted("t")); err != nil || e.DeviceIndex != 1 {
		t.Errorf("want device index 1, got %+v, error %v", e, err)
	}
}

func TestRefusedAttachmentLeavesNothing(t *testing.T) {
	for _, tt := range []struct {
		code string
		want cloud.Class
	}{
		{"AttachmentLimitExceeded", cloud.Quota},
		{"UnauthorizedOperation", cloud.Auth},
		{"InvalidParameterCombination", cloud.Invalid},
		{"PrivateIpAddressLimitExceeded", cloud.Quota},
	} {
		s := newSite(t)
		s.Inject(vpcsim.Fault{Action: "AttachNetworkInterface", Code: tt.code, Message: "no, and not with " + s.Role().SecretAccessKey})
		_, err := s.driver(t, nil).CreateENI(t.Context(), s.wanted("t"))
		e := drivertest.WantClass(t, err, tt.want)
		if e.Code != tt.code || !strings.Contains(e.Message, "attach eni-") || strings.Contains(e.Message, s.Role().SecretAccessKey) {
			t.Errorf("error: %v", e)
		}
		if left := s.made("t"); len(left) != 0 {
			t.Errorf("%s: left behind: %+v", tt.code, left)
		}
	}
}

func TestRefusedAttachmentThatCannotBeUndone(t *testing.T) {
	s := newSite(t)
	s.Inject(vpcsim.Fault{Action: "AttachNetworkInterface", Code: "AttachmentLimitExceeded"})
	s.Inject(vpcsim.Fault{Action: "DeleteNetworkInterface", Code: "UnauthorizedOperation"})
	_, err := s.driver(t, nil).CreateENI(t.Context(), s.wanted("t"))
	if e := drivertest.WantClass(t, err, cloud.Quota); !strings.Contains(e.Message, "left behind") {
		t.Errorf("error: %v", e)
	}
}

// Where the ENI may yet be deleted, the error is no refusal for good: a repetition with the token deletes it.
func TestRefusedAttachmentIsUndoneLater(t *testing.T) {
	s := newSite(t)
	d := s.driver(t, nil)
	s.Inject(vpcsim.Fault{Action: "AttachNetworkInterface", Code: "AttachmentLimitExceeded", Times: -1})
	s.Inject(vpcsim.Fault{Action: "DeleteNetworkInterface", Code: "InternalError", Status: 500, Times: -1})
	_, err := d.CreateENI(t.Context(), s.wanted("t"))
	if e := drivertest.WantClass(t, err, cloud.Internal); !strings.Contains(e.Error(), "AttachmentLimitExceeded") || !strings.Contains(e.Error(), "InternalError") {
		t.Errorf("error: %v", e)
	}
	s.ClearFaults()
	s.Inject(vpcsim.Fault{Action: "AttachNetworkInterface", Code: "AttachmentLimitExceeded"})
	_, err = d.CreateENI(t.Context(), s.wanted("t"))
	drivertest.WantClass(t, err, cloud.Quota)
	if left := s.made("t"); len(left) != 0 {
		t.Errorf("left behind: %+v", left)
	}
}

// The default security groups may be others at the repetition: EC2 then takes it for another request.
func TestTokenOfAnotherRequest(t *testing.T) {
	s := newSite(t)
	d := s.driver(t, nil)
	first, err := d.CreateENI(t.Context(), s.wanted("t"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DetachENI(first.ID); err != nil {
		t.Fatal(err)
	}
	r := s.wanted("t")
	r.SecurityGroups = []string{"sg-0a"}
	if second, err := d.CreateENI(t.Context(), r); err != nil || second.ID != first.ID {
		t.Errorf("want %s, got %+v, error %v", first.ID, second, err)
	}
	if err := s.complete("t"); err != nil {
		t.Error(err)
	}
}

// What the token made was deleted since, by a sweep perhaps.
func TestTokenOfADeletedENI(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.driver(t, nil)
	e, err := d.CreateENI(t.Context(), s.wanted("t"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.VPC.DeleteENI(e.ID); err != nil {
		t.Fatal(err)
	}
	other := s.wanted("t")
	other.Tags = map[string]string{"owner": "another"} // for which EC2 says that the token was another request's
	for _, r := range []cloud.CreateENIRequest{s.wanted("t"), other} {
		_, err = d.CreateENI(t.Context(), r)
		drivertest.WantClass(t, err, cloud.NotFound)
	}
	if left := s.made("t"); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

// A deadline in the middle leaves what a repetition completes.
func TestAttachmentThatTakesTooLong(t *testing.T) {
	s := newSite(t)
	s.SetDelays(vpcsim.Delays{Attach: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := s.driver(t, nil).CreateENI(ctx, s.wanted("t"))
	e := drivertest.WantClass(t, err, cloud.Unreachable)
	if !strings.Contains(e.Message, "attaching") {
		t.Errorf("error doesn't say what it waited for: %v", e)
	}
}

func TestThrottledLifecycle(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Throttle(vpcsim.Bucket{Burst: 2, PerSecond: 4})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d := s.driver(t, nil)
	e, err := d.CreateENI(ctx, s.wanted("t"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.complete("t"); err != nil {
		t.Error(err)
	}
	if err := d.DeleteENI(ctx, s.Instance.ID, e.ID); err != nil {
		t.Error(err)
	}
	if s.Throttled() == 0 {
		t.Error("no call was throttled")
	}
}

func TestLimitsOfTypes(t *testing.T) {
	s := newSite(t)
	for instanceType, want := range map[string]cloud.Limits{
		"m3.medium":    {ENIs: 2, AddressesPerENI: 6},                // of a generation that has no IPv6
		"t2.medium":    {ENIs: 3, AddressesPerENI: 6, IPv6PerENI: 6}, // and of one that takes no prefixes
		"p4d.24xlarge": {ENIs: 15, AddressesPerENI: 50, Prefixes: true, IPv6PerENI: 50},
	} {
		if got, err := s.driver(t, nil).Limits(t.Context(), instanceType); err != nil || got != want {
			t.Errorf("limits of %s: want %+v, got %+v, error %v", instanceType, want, got, err)
		}
	}
}
