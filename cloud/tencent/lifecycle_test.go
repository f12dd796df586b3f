package tencent_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/drivertest"
	"github.com/enichain/enichain/test/vpcsim"
)

func TestSubnets(t *testing.T) {
	s := newSite(t)
	d := s.driver(t, nil)
	for _, tt := range []struct {
		name  string
		query cloud.SubnetQuery
		want  []string
	}{
		{"the primary's", cloud.SubnetQuery{}, []string{"subnet-0a"}},
		{"by ID", cloud.SubnetQuery{IDs: []string{"subnet-0b", "subnet-0a", "subnet-none"}}, []string{"subnet-0a", "subnet-0b"}},
		{"by tag, in the zone", cloud.SubnetQuery{Tags: map[string]string{"use": "pods"}}, []string{"subnet-0b"}},
		{"of another zone", cloud.SubnetQuery{IDs: []string{"subnet-0z"}}, nil},
		{"by tags of which one is not there", cloud.SubnetQuery{Tags: map[string]string{"use": "pods", "more": ""}}, nil},
	} {
		tt.query.InstanceID = s.Instance.ID
		got, err := d.Subnets(t.Context(), tt.query)
		if tt.want == nil {
			drivertest.WantClass(t, err, cloud.NotFound)
			continue
		}
		var ids []string
		for _, n := range got {
			ids = append(ids, n.ID)
		}
		if err != nil || !slices.Equal(ids, tt.want) {
			t.Errorf("%s: got %v, error %v", tt.name, ids, err)
		}
	}
	got, err := d.Subnets(t.Context(), cloud.SubnetQuery{InstanceID: s.Instance.ID})
	want := cloud.Subnet{
		ID: "subnet-0a", Zone: "ap-guangzhou-3", CIDR: netip.MustParsePrefix("10.0.1.0/24"), Gateway: netip.MustParseAddr("10.0.1.1"),
		CIDR6: netip.MustParsePrefix("2001:db8:0:1::/64"), Free: 251,
	}
	if err != nil || got[0] != want {
		t.Errorf("subnet:\n- want: %+v\n-  got: %+v, error %v", want, got, err)
	}
	_, err = d.Subnets(t.Context(), cloud.SubnetQuery{InstanceID: "ins-none"})
	drivertest.WantClass(t, err, cloud.NotFound)
}

// create is a request for an ENI.
func (s *site) create(token string, addresses int) cloud.CreateENIRequest {
	return cloud.CreateENIRequest{
		InstanceID: s.Instance.ID, SubnetID: "subnet-0b", Token: token, Addresses: addresses,
		Tags: map[string]string{"enichain/node": s.Instance.ID, cloud.TagCreated: "2026-11-20T12:00:00Z"},
	}
}

// made returns the ENIs of the account beside those that the site has from the start.
func (s *site) made() []vpcsim.ENI {
	s.Wait()
	return s.AllENIs()[3:]
}

func TestCreateENI(t *testing.T) {
	s := newSiteOf(t, "S5.4XLARGE32")
	s.SetDelays(vpcsim.Delays{Create: 50 * time.Millisecond, Attach: 100 * time.Millisecond})
	d := s.driver(t, nil)
	e, err := d.CreateENI(t.Context(), s.create("one", 14))
	if err != nil {
		t.Fatal(err)
	}
	if e.State != cloud.Attached || e.InstanceID != s.Instance.ID || e.DeviceIndex != 2 || e.MAC == "" || len(e.Addresses) != 14 ||
		e.Subnet != netip.MustParsePrefix("10.0.2.0/24") || e.Gateway != netip.MustParseAddr("10.0.2.1") ||
		!e.Created.Equal(time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("made: %+v", e)
	}
	m := s.made()[0]
	if m.Tags[cloud.TagToken] != "one" || m.Tags["enichain/node"] != s.Instance.ID || !slices.Equal(m.SecurityGroups, s.eni(0).SecurityGroups) {
		t.Errorf("made: %+v", m)
	}
	again, err := d.CreateENI(t.Context(), s.create("one", 14))
	if err != nil || again.ID != e.ID || len(s.made()) != 1 {
		t.Errorf("the same again: got %+v, error %v; there are %d", again, err, len(s.made()))
	}
	r := s.create("two", 0)
	r.SecurityGroups = []string{"sg-1"}
	other, err := d.CreateENI(t.Context(), r)
	if err != nil || other.ID == e.ID || !slices.Equal(other.SecurityGroups, []string{"sg-1"}) || len(other.Addresses) != 0 {
		t.Errorf("another: got %+v, error %v", other, err)
	}
	found, err := d.TaggedENIs(t.Context(), map[string]string{"enichain/node": s.Instance.ID})
	if err != nil || len(found) != 2 {
		t.Errorf("tagged: got %+v, error %v", found, err)
	}
	if n := s.Calls("CreateAndAttachNetworkInterface"); n != 2 {
		t.Errorf("calls to make an ENI: %d", n)
	}
}

// Whatever became of the first call, the second completes it, and there is one ENI.
func TestCreateENIIsRepeated(t *testing.T) {
	for name, fault := range map[string]vpcsim.Fault{
		"the answer is lost": {Action: "CreateAndAttachNetworkInterface", AfterEffect: true},
		"the call is lost":   {Action: "CreateAndAttachNetworkInterface", Code: "InternalError"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSiteOf(t, "S5.4XLARGE32")
			d := s.driver(t, nil)
			s.Inject(fault)
			if _, err := d.CreateENI(t.Context(), s.create("one", 14)); err == nil {
				t.Fatal("the first call succeeded")
			}
			e, err := d.CreateENI(t.Context(), s.create("one", 14))
			if err != nil || e.State != cloud.Attached || len(e.Addresses) != 14 || len(s.made()) != 1 {
				t.Errorf("again: got %+v, error %v; there are %d", e, err, len(s.made()))
			}
		})
	}
}

// An ENI that was made and never attached, by a process that was killed between, is attached.
func TestCreateENIAttachesWhatIsMade(t *testing.T) {
	s := newSite(t)
	d := s.driver(t, nil)
	e, err := d.CreateENI(t.Context(), s.create("one", 2))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveAddress(e.Addresses[0]); err != nil {
		t.Fatal(err)
	}
	if err := s.DetachENI(e.ID); err != nil {
		t.Fatal(err)
	}
	s.Inject(vpcsim.Fault{Action: "AttachNetworkInterface", AfterEffect: true})
	_, err = d.CreateENI(t.Context(), s.create("one", 2))
	drivertest.WantClass(t, err, cloud.Unreachable)
	again, err := d.CreateENI(t.Context(), s.create("one", 2))
	if err != nil || again.ID != e.ID || again.State != cloud.Attached || len(again.Addresses) != 2 || len(s.made()) != 1 {
		t.Errorf("again: got %+v, error %v", again, err)
	}
}

// A token whose ENI was deleted since is used up.
func TestCreateENIOfAUsedToken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.driver(t, nil)
	e, err := d.CreateENI(t.Context(), s.create("one", 2))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.DeleteENI(t.Context(), s.Instance.ID, e.ID); err != nil {
		t.Fatal(err)
	}
	other := s.create("one", 2)
	other.SecurityGroups = []string{"sg-1"} // for which the cloud says that the token was another request's
	for _, r := range []cloud.CreateENIRequest{s.create("one", 2), other} {
		_, err = d.CreateENI(t.Context(), r)
		drivertest.WantClass(t, err, cloud.NotFound)
	}
	if left := s.made(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

// An ENI that the cloud makes and refuses to attach does not stay behind.
func TestCreateENICleansUp(t *testing.T) {
	s := newSite(t)
	d := s.driver(t, nil)
	s.Inject(vpcsim.Fault{Action: vpcsim.Task, Code: "UnsupportedOperation.InvalidState"})
	_, err := d.CreateENI(t.Context(), s.create("one", 1))
	drivertest.WantClass(t, err, cloud.Internal)
	if left := s.made(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
	e, err := d.CreateENI(t.Context(), s.create("two", 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DetachENI(e.ID); err != nil {
		t.Fatal(err)
	}
	s.Inject(vpcsim.Fault{Action: "AttachNetworkInterface", Code: "LimitExceeded"})
	_, err = d.CreateENI(t.Context(), s.create("two", 1))
	drivertest.WantClass(t, err, cloud.Quota)
	if left := s.made(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

// Where the ENI may yet be deleted, the error is no refusal for good: a repetition with the token deletes it.
func TestCreateENICleansUpLater(t *testing.T) {
	s := newSite(t)
	d := s.driver(t, nil)
	e, err := d.CreateENI(t.Context(), s.create("one", 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DetachENI(e.ID); err != nil {
		t.Fatal(err)
	}
	s.Inject(vpcsim.Fault{Action: "AttachNetworkInterface", Code: "LimitExceeded", Times: 2})
	s.Inject(vpcsim.Fault{Action: "DeleteNetworkInterface", Code: "InternalError"})
	_, err = d.CreateENI(t.Context(), s.create("one", 1))
	if told := drivertest.WantClass(t, err, cloud.Internal); !strings.Contains(told.Error(), "LimitExceeded") || !strings.Contains(told.Error(), "InternalError") {
		t.Errorf("error: %v", told)
	}
	_, err = d.CreateENI(t.Context(), s.create("one", 1))
	drivertest.WantClass(t, err, cloud.Quota)
	if left := s.made(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

func TestCreateENIRefused(t *testing.T) {
	s := newSite(t)
	d := s.driver(t, nil)
	other, err := s.AddInstance("S5.MEDIUM4")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*cloud.CreateENIRequest)
		want   cloud.Class
	}{
		{"no such subnet", func(r *cloud.CreateENIRequest) { r.SubnetID = "subnet-none" }, cloud.NotFound},
		{"another zone", func(r *cloud.CreateENIRequest) { r.SubnetID = "subnet-0z" }, cloud.Invalid},
		{"no such group", func(r *cloud.CreateENIRequest) { r.SecurityGroups = []string{"sg-none"} }, cloud.NotFound},
		{"no such instance", func(r *cloud.CreateENIRequest) { r.InstanceID = "ins-none" }, cloud.NotFound},
		{"prefixes", func(r *cloud.CreateENIRequest) { r.Prefixes = 1 }, cloud.Unsupported},
		{"too many addresses", func(r *cloud.CreateENIRequest) { r.Addresses = 10 }, cloud.Quota},
	} {
		r := s.create("refused "+tt.name, 0)
		r.Token = strings.ReplaceAll(r.Token, " ", "-")
		tt.change(&r)
		_, err := d.CreateENI(t.Context(), r)
		if e := new(cloud.Error); err == nil {
			t.Errorf("%s: no error", tt.name)
		} else if e = drivertest.WantClass(t, err, tt.want); e.Message == "" {
			t.Errorf("%s: no message", tt.name)
		}
	}
	for i := range 2 {
		if _, err := d.CreateENI(t.Context(), s.create(fmt.Sprint("good-", i), 0)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = d.CreateENI(t.Context(), s.create("fifth", 0))
	drivertest.WantClass(t, err, cloud.Quota)
	if err := s.FillSubnet("subnet-0b", 0); err != nil {
		t.Fatal(err)
	}
	r := s.create("full", 0)
	r.InstanceID = other.ID
	r.SecurityGroups = []string{"sg-1"}
	_, err = d.CreateENI(t.Context(), r)
	drivertest.WantClass(t, err, cloud.SubnetFull)
	if n := len(s.made()); n != 2 {
		t.Errorf("there are %d ENIs, want 2", n)
	}
}

func TestDeleteENI(t *testing.T) {
	s := newSite(t)
	s.SetDelays(vpcsim.Delays{Detach: 50 * time.Millisecond})
	d := s.driver(t, nil)
	e, err := d.CreateENI(t.Context(), s.create("one", 2))
	if err != nil {
		t.Fatal(err)
	}
	drivertest.WantClass(t, d.DeleteENI(t.Context(), "", e.ID), cloud.Invalid)
	drivertest.WantClass(t, d.DeleteENI(t.Context(), "ins-other", e.ID), cloud.Invalid)
	drivertest.WantClass(t, d.DeleteENI(t.Context(), s.Instance.ID, s.eni(0).ID), cloud.Invalid)
	if err := d.DeleteENI(t.Context(), s.Instance.ID, e.ID); err != nil {
		t.Fatal(err)
	}
	if left := s.made(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
	if err := d.DeleteENI(t.Context(), s.Instance.ID, e.ID); err != nil {
		t.Errorf("again: %v", err)
	}
	e, err = d.CreateENI(t.Context(), s.create("two", 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DetachENI(e.ID); err != nil {
		t.Fatal(err)
	}
	if err := d.DeleteENI(t.Context(), "", e.ID); err != nil {
		t.Errorf("one that is attached to nothing: %v", err)
	}
	if left := s.made(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

// Lost answers of detaching and of deleting leave nothing that a repetition does not finish.
func TestDeleteENIIsRepeated(t *testing.T) {
	for _, action := range []string{"DetachNetworkInterface", "DeleteNetworkInterface"} {
		s := newSite(t)
		d := s.driver(t, nil)
		e, err := d.CreateENI(t.Context(), s.create("one", 2))
		if err != nil {
			t.Fatal(err)
		}
		s.Inject(vpcsim.Fault{Action: action, AfterEffect: true})
		drivertest.WantClass(t, d.DeleteENI(t.Context(), s.Instance.ID, e.ID), cloud.Unreachable)
		if err := d.DeleteENI(t.Context(), s.Instance.ID, e.ID); err != nil {
			t.Errorf("again after %s: %v", action, err)
		}
		if left := s.made(); len(left) != 0 {
			t.Errorf("left: %+v", left)
		}
	}
}

func TestPrefixesAreUnsupported(t *testing.T) {
	s := newSite(t)
	d := s.driver(t, nil)
	_, err := d.AssignPrefixes(t.Context(), s.eni(1).ID, 1)
	drivertest.WantClass(t, err, cloud.Unsupported)
	drivertest.WantClass(t, d.UnassignPrefixes(t.Context(), s.eni(1).ID, []netip.Prefix{netip.MustParsePrefix("10.0.2.16/28")}), cloud.Unsupported)
	_, err = d.TaggedENIs(t.Context(), nil)
	drivertest.WantClass(t, err, cloud.Invalid)
}
