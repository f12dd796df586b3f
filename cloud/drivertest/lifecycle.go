package drivertest

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
)

func testSubnets(t *testing.T, w *World) {
	primary := w.Node.ENIs[0]
	for _, tt := range []struct {
		name  string
		query cloud.SubnetQuery
		want  []string
	}{
		{"the primary's", cloud.SubnetQuery{}, []string{primary.SubnetID}},
		{"by ID", cloud.SubnetQuery{IDs: []string{w.Subnet.ID}}, []string{w.Subnet.ID}},
		{"by IDs", cloud.SubnetQuery{IDs: []string{w.Subnet.ID, primary.SubnetID}}, []string{primary.SubnetID, w.Subnet.ID}},
		{"by tags", cloud.SubnetQuery{Tags: w.SubnetTags}, []string{w.Subnet.ID}},
		{"in our zone only", cloud.SubnetQuery{IDs: []string{w.Subnet.ID, w.ElsewhereID}}, []string{w.Subnet.ID}},
	} {
		tt.query.InstanceID = w.Node.InstanceID
		got, err := w.Driver.Subnets(within(t), tt.query)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var ids []string
		for _, s := range got {
			ids = append(ids, s.ID)
		}
		slices.Sort(ids)
		slices.Sort(tt.want)
		if d := diff(tt.want, ids); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
		if n := slices.IndexFunc(got, func(s cloud.Subnet) bool { return s.ID == w.Subnet.ID }); n >= 0 {
			if d := diff(w.Subnet, got[n]); d != "" {
				t.Errorf("%s: subnet (-want +got):\n%s", tt.name, d)
			}
		}
	}
	for name, query := range map[string]cloud.SubnetQuery{
		"another zone's": {InstanceID: w.Node.InstanceID, IDs: []string{w.ElsewhereID}},
		"no such tag":    {InstanceID: w.Node.InstanceID, Tags: map[string]string{"no": "such"}},
		"no instance":    {InstanceID: "xxx" + w.Node.InstanceID},
	} {
		got, err := w.Driver.Subnets(within(t), query)
		if err == nil {
			t.Errorf("%s: got %v", name, got)
			continue
		}
		wantClass(t, w, err, cloud.NotFound, cloud.Invalid)
	}
}

// request asks for an ENI of two secondary addresses in World.Subnet.
func request(w *World) cloud.CreateENIRequest {
	return cloud.CreateENIRequest{
		InstanceID: w.Node.InstanceID, SubnetID: w.Subnet.ID, Token: "token-1", Addresses: 2,
		Tags: map[string]string{"owner": "a test", cloud.TagCreated: "2026-01-02T03:04:05Z"},
	}
}

// create makes an ENI, which has to succeed.
func create(t *testing.T, w *World, r cloud.CreateENIRequest) cloud.ENI {
	t.Helper()
	e, err := w.Driver.CreateENI(within(t), r)
	if err != nil {
		t.Fatal(err)
	}
	return *e
}

// byID finds an ENI in the truth.
func byID(t *testing.T, w *World, id string) cloud.ENI {
	t.Helper()
	all := w.All()
	n := slices.IndexFunc(all, func(e cloud.ENI) bool { return e.ID == id })
	if n < 0 {
		t.Fatalf("the account has no ENI %s", id)
	}
	return all[n]
}

// wantAccount fails the test unless the account has so many ENIs more than before.
func wantAccount(t *testing.T, w *World, before []cloud.ENI, more int) {
	t.Helper()
	if after := w.All(); len(after) != len(before)+more {
		t.Errorf("ENIs of the account: want %d more than %d, got %+v", more, len(before), after)
	}
}

// checkCreated compares an ENI with its request and with the truth.
func checkCreated(t *testing.T, w *World, r cloud.CreateENIRequest, got cloud.ENI) {
	t.Helper()
	truth := byID(t, w, got.ID)
	if d := diff(withoutUnknown(truth, got), got); d != "" {
		t.Errorf("ENI (-truth +got):\n%s", d)
	}
	if got.State != cloud.Attached || got.InstanceID != r.InstanceID || got.DeviceIndex < 1 || got.Primary {
		t.Errorf("ENI is not attached to %s: %+v", r.InstanceID, got)
	}
	if got.SubnetID != w.Subnet.ID || got.Subnet != w.Subnet.CIDR || got.Gateway != w.Subnet.Gateway || got.Subnet6 != w.Subnet.CIDR6 {
		t.Errorf("ENI is not in %+v: %+v", w.Subnet, got)
	}
	for _, ip := range append(got.Addresses, got.PrimaryIP) {
		if !w.Subnet.CIDR.Contains(ip) {
			t.Errorf("address %s is not of %s", ip, w.Subnet.CIDR)
		}
	}
	if got.DeleteOnTermination != w.Bound {
		t.Errorf("deleted with the instance: want %v, got %v", w.Bound, got.DeleteOnTermination)
	}
	for key, value := range r.Tags {
		if got.Tags[key] != value {
			t.Errorf("tag %s: want %q, got %q", key, value, got.Tags[key])
		}
	}
	if got.Tags[cloud.TagToken] != r.Token || got.Created.IsZero() {
		t.Errorf("ENI has no token or no time of creation: %+v", got)
	}
	if len(got.Addresses) != r.Addresses || len(got.Prefixes) != r.Prefixes || len(got.IPv6) != r.IPv6 {
		t.Errorf("want %+v, got %v, %v and %v", r, got.Addresses, got.Prefixes, got.IPv6)
	}
}

func testCreate(t *testing.T, w *World) {
	before, r := w.All(), request(w)
	got := create(t, w, r)
	checkCreated(t, w, r, got)
	wantAccount(t, w, before, 1)
	if d := diff(byID(t, w, w.Node.ENIs[0].ID).SecurityGroups, got.SecurityGroups); d != "" {
		t.Errorf("security groups (-primary's +got):\n%s", d)
	}
	subnets, err := w.Driver.Subnets(within(t), cloud.SubnetQuery{InstanceID: r.InstanceID, IDs: []string{r.SubnetID}})
	if err != nil || subnets[0].Free != w.Subnet.Free-3 {
		t.Errorf("free addresses after 3 of %d were taken: %+v, error %v", w.Subnet.Free, subnets, err)
	}
	listed, err := w.Driver.ENIs(within(t), r.InstanceID)
	if err != nil || !slices.ContainsFunc(listed, func(e cloud.ENI) bool { return e.ID == got.ID }) {
		t.Errorf("the instance's ENIs: %+v, error %v", listed, err)
	}
	for _, e := range before {
		if e.InstanceID == got.InstanceID && e.DeviceIndex == got.DeviceIndex {
			t.Errorf("device index %d was %s's", e.DeviceIndex, e.ID)
		}
	}
}

func testCreateWithGroups(t *testing.T, w *World) {
	before, r := w.All(), request(w)
	r.SecurityGroups = byID(t, w, w.Node.ENIs[0].ID).SecurityGroups[:1]
	if got := create(t, w, r); !slices.Equal(got.SecurityGroups, r.SecurityGroups) {
		t.Errorf("security groups: want %v, got %v", r.SecurityGroups, got.SecurityGroups)
	}
	r.SecurityGroups, r.Token = []string{"sg-nosuch"}, "token-2"
	_, err := w.Driver.CreateENI(within(t), r)
	wantClass(t, w, err, cloud.NotFound, cloud.Invalid)
	wantAccount(t, w, before, 1)
}

func testCreateSlowly(t *testing.T, w *World) {
	before, r := w.All(), request(w)
	w.Slow()
	got := create(t, w, r)
	checkCreated(t, w, r, got)
	if err := w.Driver.DeleteENI(within(t), r.InstanceID, got.ID); err != nil {
		t.Error(err)
	}
	wantAccount(t, w, before, 0)
}

func testCreateTooMany(t *testing.T, w *World) {
	r := request(w)
	for n := len(w.Held()); n < w.Limits.ENIs; n++ {
		r.Token = "token-" + string(rune('a'+n))
		create(t, w, r)
	}
	full := w.All()
	r.Token = "token-z"
	_, err := w.Driver.CreateENI(within(t), r)
	wantClass(t, w, err, cloud.Quota)
	wantAccount(t, w, full, 0)
}

func testCreateSubnetFull(t *testing.T, w *World) {
	if err := w.FillSubnet(w.Subnet.ID, 2); err != nil { // one is missing
		t.Fatal(err)
	}
	before := w.All()
	_, err := w.Driver.CreateENI(within(t), request(w))
	wantClass(t, w, err, cloud.SubnetFull)
	wantAccount(t, w, before, 0)
}

func testCreateNowhere(t *testing.T, w *World) {
	before := w.All()
	for name, spoil := range map[string]func(*cloud.CreateENIRequest){
		"no such subnet":   func(r *cloud.CreateENIRequest) { r.SubnetID = "subnet-nosuch" },
		"another zone":     func(r *cloud.CreateENIRequest) { r.SubnetID = w.ElsewhereID },
		"no such instance": func(r *cloud.CreateENIRequest) { r.InstanceID = "xxx" + r.InstanceID },
		"no token":         func(r *cloud.CreateENIRequest) { r.Token = "" },
	} {
		r := request(w)
		spoil(&r)
		if _, err := w.Driver.CreateENI(within(t), r); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			wantClass(t, w, err, cloud.NotFound, cloud.Invalid)
		}
	}
	wantAccount(t, w, before, 0)
}

func testCreateRefused(t *testing.T, w *World) {
	before := w.All()
	for _, class := range []cloud.Class{cloud.Throttled, cloud.Quota, cloud.SubnetFull, cloud.Auth, cloud.Internal} {
		w.Fail(class)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // for those that are tried again
		_, err := w.Driver.CreateENI(ctx, request(w))
		cancel()
		wantClass(t, w, err, orCutShort(class)...)
		wantAccount(t, w, before, 0)
		w.Recover()
	}
	create(t, w, request(w))
	wantAccount(t, w, before, 1)
}

// A lost answer costs at most a repetition: there is one ENI in the end.
func testLostCreate(t *testing.T, w *World) {
	before, r := w.All(), request(w)
	w.LoseAnswer()
	got, err := w.Driver.CreateENI(within(t), r)
	if err != nil {
		wantClass(t, w, err, cloud.Unreachable)
		w.Recover()
		repeated := create(t, w, r)
		got = &repeated
	}
	checkCreated(t, w, r, *got)
	wantAccount(t, w, before, 1)
}

func testDelete(t *testing.T, w *World) {
	before := w.All()
	first := create(t, w, request(w))
	for range 2 { // the second finds it gone
		if err := w.Driver.DeleteENI(within(t), w.Node.InstanceID, first.ID); err != nil {
			t.Fatal(err)
		}
	}
	wantAccount(t, w, before, 0)
	r := request(w)
	r.Token = "token-2"
	second := create(t, w, r)
	if err := w.Driver.DeleteENI(within(t), "", second.ID); err == nil {
		t.Errorf("%s is attached, and was deleted for no instance", second.ID)
	} else {
		wantClass(t, w, err, cloud.Invalid)
	}
	if err := w.Detach(second.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.Driver.DeleteENI(within(t), "", second.ID); err != nil {
		t.Error(err)
	}
	wantAccount(t, w, before, 0)
}

func testDeleteForeign(t *testing.T, w *World) {
	before := w.All()
	for _, e := range before {
		if e.Primary || e.InstanceID != w.Node.InstanceID {
			wantClass(t, w, w.Driver.DeleteENI(within(t), w.Node.InstanceID, e.ID), cloud.Invalid)
		}
	}
	if d := diff(before, w.All()); d != "" {
		t.Errorf("the account (-before +after):\n%s", d)
	}
}

func testLostDelete(t *testing.T, w *World) {
	before := w.All()
	e := create(t, w, request(w))
	w.LoseAnswer()
	if err := w.Driver.DeleteENI(within(t), w.Node.InstanceID, e.ID); err != nil {
		wantClass(t, w, err, cloud.Unreachable)
		w.Recover()
		if err := w.Driver.DeleteENI(within(t), w.Node.InstanceID, e.ID); err != nil {
			t.Error(err)
		}
	}
	wantAccount(t, w, before, 0)
}

func testTagged(t *testing.T, w *World) {
	e := create(t, w, request(w))
	for _, state := range []cloud.ENIState{cloud.Attached, cloud.Available} {
		got, err := w.Driver.TaggedENIs(within(t), map[string]string{"owner": "a test", cloud.TagCreated: "2026-01-02T03:04:05Z"})
		if err != nil || len(got) != 1 {
			t.Fatalf("want %s alone, got %+v, error %v", e.ID, got, err)
		}
		truth := byID(t, w, e.ID)
		if d := diff(withoutUnknown(truth, got[0]), got[0]); d != "" || got[0].State != state || got[0].Created.IsZero() {
			t.Errorf("%s ENI (-truth +got):\n%s", state, d)
		}
		if state == cloud.Attached {
			if err := w.Detach(e.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, value := range []string{"a te*", "a test?", "*", "another"} {
		if got, err := w.Driver.TaggedENIs(within(t), map[string]string{"owner": value}); err != nil || len(got) != 0 {
			t.Errorf("owner %q: got %+v, error %v", value, got, err)
		}
	}
	_, err := w.Driver.TaggedENIs(within(t), nil)
	wantClass(t, w, err, cloud.Invalid)
}

func testPrefixes(t *testing.T, w *World) {
	eni := w.Node.ENIs[1].ID
	got, err := w.Driver.AssignPrefixes(within(t), eni, 2)
	if !w.Limits.Prefixes {
		wantClass(t, w, err, cloud.Unsupported)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	held := byID(t, w, eni)
	if d := diff(held.Prefixes, got); d != "" || len(got) != 2 {
		t.Errorf("prefixes (-held +got):\n%s", d)
	}
	n, err := w.Driver.Node(within(t))
	if err != nil || !slices.Equal(n.ENIs[1].Prefixes, got) {
		t.Errorf("the metadata service's prefixes: want %v, got %+v, error %v", got, n, err)
	}
	for _, list := range [][]netip.Prefix{got[:1], got, got} { // what is gone is no error
		if err := w.Driver.UnassignPrefixes(within(t), eni, list); err != nil {
			t.Errorf("unassign %v: %v", list, err)
		}
	}
	if held := byID(t, w, eni); len(held.Prefixes) != 0 {
		t.Errorf("prefixes after they were unassigned: %v", held.Prefixes)
	}
	r := request(w)
	r.Addresses, r.Prefixes, r.Tags = 0, 2, maps.Clone(r.Tags)
	checkCreated(t, w, r, create(t, w, r))
	_, err = w.Driver.AssignPrefixes(within(t), eni, w.Limits.AddressesPerENI)
	wantClass(t, w, err, cloud.Quota)
	if err := w.FragmentSubnet(byID(t, w, eni).SubnetID); err != nil {
		t.Fatal(err)
	}
	_, err = w.Driver.AssignPrefixes(within(t), eni, 1)
	wantClass(t, w, err, cloud.SubnetFull)
}
