package drivertest

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/enichain/enichain/cloud"
)

// addresses6 is addresses for IPv6.
func addresses6(enis []cloud.ENI, id string) []netip.Addr {
	for _, e := range enis {
		if e.ID == id {
			return e.IPv6
		}
	}
	return nil
}

// skip6 says whether the cloud has no IPv6, and tests that it says so.
func skip6(t *testing.T, w *World) bool {
	t.Helper()
	if w.Limits.IPv6PerENI > 0 {
		return false
	}
	_, err := w.Driver.AssignIPv6(within(t), w.Node.ENIs[1].ID, 1)
	wantClass(t, w, err, cloud.Unsupported)
	return true
}

func testAssignIPv6(t *testing.T, w *World) {
	if skip6(t, w) {
		return
	}
	for _, e := range w.Node.ENIs {
		before := w.Held()
		got, err := w.Driver.AssignIPv6(within(t), e.ID, 2)
		if err != nil {
			t.Fatal(err)
		}
		if d := diff(append(addresses6(before, e.ID), got...), addresses6(w.Held(), e.ID)); len(got) != 2 || d != "" {
			t.Errorf("assigned to %s (-answered +held):\n%s", e.ID, d)
		}
		for _, ip := range got {
			if !e.Subnet6.Contains(ip) {
				t.Errorf("%s is not of %s", ip, e.Subnet6)
			}
		}
		if d := diff(addresses(before, e.ID), addresses(w.Held(), e.ID)); d != "" {
			t.Errorf("addresses of IPv4 (-before +after):\n%s", d)
		}
	}
	for i, e := range w.Held() { // every way to look says the same
		listed, err := w.Driver.ENIs(within(t), w.Node.InstanceID)
		if err != nil {
			t.Fatal(err)
		}
		n, err := w.Driver.Node(within(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []cloud.ENI{listed[i], n.ENIs[i]} {
			if got.PrimaryIP6 != w.Node.ENIs[i].PrimaryIP6 || diff(e.IPv6, got.IPv6) != "" {
				t.Errorf("IPv6 of %s: want %v beside its own %v, got %v beside %v", e.ID, e.IPv6, e.PrimaryIP6, got.IPv6, got.PrimaryIP6)
			}
		}
	}
	_, err := w.Driver.AssignIPv6(within(t), w.Node.ENIs[0].ID, 0)
	wantClass(t, w, err, cloud.Invalid)
}

func testUnassignIPv6(t *testing.T, w *World) {
	if skip6(t, w) {
		return
	}
	before, e := w.Held(), w.Node.ENIs[1]
	six, err := w.Driver.AssignIPv6(within(t), e.ID, 3)
	if err != nil {
		t.Fatal(err)
	}
	four, err := w.Driver.Assign(within(t), e.ID, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]netip.Addr{six[:1], {six[0], six[1], four[0]}, six[:2], append(slices.Clone(six), four...)} {
		if err := w.Driver.Unassign(within(t), e.ID, list); err != nil { // what is gone is no error
			t.Errorf("unassign %v: %v", list, err)
		}
	}
	if d := diff(before, w.Held()); d != "" {
		t.Errorf("ENIs (-before +after):\n%s", d)
	}
	primary := w.Node.ENIs[0]
	wantClass(t, w, w.Driver.Unassign(within(t), primary.ID, []netip.Addr{primary.PrimaryIP6}), cloud.Invalid)
}

func testRefusedIPv6(t *testing.T, w *World) {
	if skip6(t, w) {
		return
	}
	before, eni := w.Held(), w.Node.ENIs[1].ID
	_, err := w.Driver.AssignIPv6(within(t), eni, w.Limits.IPv6PerENI+1)
	wantClass(t, w, err, cloud.Quota)
	_, err = w.Driver.AssignIPv6(within(t), "eni-00000000000000000", 1)
	wantClass(t, w, err, cloud.NotFound)
	for _, class := range []cloud.Class{cloud.Quota, cloud.SubnetFull, cloud.Auth, cloud.Invalid, cloud.Internal} {
		w.Fail(class)
		_, err := w.Driver.AssignIPv6(within(t), eni, 1)
		wantClass(t, w, err, class)
		w.Recover()
	}
	if d := diff(before, w.Held()); d != "" {
		t.Errorf("ENIs (-before +after):\n%s", d)
	}
}

func testLostIPv6(t *testing.T, w *World) {
	if skip6(t, w) {
		return
	}
	eni := w.Node.ENIs[1].ID
	w.LoseAnswer()
	_, err := w.Driver.AssignIPv6(within(t), eni, 2)
	wantClass(t, w, err, cloud.Unreachable)
	held := addresses6(w.Held(), eni)
	if len(held) != 2 { // once, and not twice
		t.Fatalf("the ENI has %v", held)
	}
	w.Recover()
	w.LoseAnswer()
	wantClass(t, w, w.Driver.Unassign(within(t), eni, held), cloud.Unreachable)
	if err := w.Driver.Unassign(within(t), eni, held); err != nil { // how the caller settles it
		t.Errorf("unassign again: %v", err)
	}
	if held := addresses6(w.Held(), eni); len(held) != 0 {
		t.Errorf("the ENI still has %v", held)
	}
}

// A subnet without IPv6 has none to give, and an ENI is not made for it.
func testNoIPv6(t *testing.T, w *World) {
	if skip6(t, w) {
		return
	}
	bare := request(w)
	bare.SubnetID = w.BareID
	e := create(t, w, bare)
	if e.Subnet6.IsValid() || e.Gateway6.IsValid() || e.PrimaryIP6.IsValid() || len(e.IPv6) > 0 {
		t.Errorf("ENI of a subnet without IPv6: %+v", e)
	}
	_, err := w.Driver.AssignIPv6(within(t), e.ID, 1)
	wantClass(t, w, err, cloud.Unsupported)
	if w.Limits.Prefixes {
		_, err = w.Driver.AssignIPv6Prefixes(within(t), e.ID, 1)
		wantClass(t, w, err, cloud.Unsupported)
	}
	if err := w.Driver.DeleteENI(within(t), w.Node.InstanceID, e.ID); err != nil {
		t.Fatal(err)
	}
	before := w.All()
	bare.Token, bare.IPv6 = "token-2", 1
	_, err = w.Driver.CreateENI(within(t), bare)
	wantClass(t, w, err, cloud.Unsupported)
	wantAccount(t, w, before, 0)
}

func testCreateIPv6(t *testing.T, w *World) {
	if skip6(t, w) {
		return
	}
	before, r := w.All(), request(w)
	r.IPv6 = 3
	got := create(t, w, r)
	checkCreated(t, w, r, got)
	again := create(t, w, r)
	if d := diff(got, again); d != "" {
		t.Errorf("the same again (-first +second):\n%s", d)
	}
	wantAccount(t, w, before, 1)
	for _, ip := range got.IPv6 {
		if !w.Subnet.CIDR6.Contains(ip) {
			t.Errorf("address %s is not of %s", ip, w.Subnet.CIDR6)
		}
	}
	if !got.Gateway6.IsLinkLocalUnicast() || got.Gateway6 != w.Node.ENIs[0].Gateway6 {
		t.Errorf("gateway: want %s, got %s", w.Node.ENIs[0].Gateway6, got.Gateway6)
	}
}

func testIPv6Prefixes(t *testing.T, w *World) {
	eni := w.Node.ENIs[1].ID
	if w.Limits.IPv6PerENI == 0 || !w.Limits.Prefixes {
		_, err := w.Driver.AssignIPv6Prefixes(within(t), eni, 1)
		wantClass(t, w, err, cloud.Unsupported)
		return
	}
	four, err := w.Driver.AssignPrefixes(within(t), eni, 1)
	if err != nil {
		t.Fatal(err)
	}
	six, err := w.Driver.AssignIPv6Prefixes(within(t), eni, 2)
	if err != nil {
		t.Fatal(err)
	}
	if d := diff(append(slices.Clone(four), six...), byID(t, w, eni).Prefixes); d != "" || len(six) != 2 || !six[0].Addr().Is6() {
		t.Errorf("prefixes (-answered +held):\n%s", d)
	}
	n, err := w.Driver.Node(within(t))
	if err != nil || diff(byID(t, w, eni).Prefixes, n.ENIs[1].Prefixes) != "" {
		t.Errorf("the metadata service's prefixes: want %v, got %+v, error %v", byID(t, w, eni).Prefixes, n, err)
	}
	for _, list := range [][]netip.Prefix{six[:1], append(slices.Clone(six), four...), six} { // what is gone is no error
		if err := w.Driver.UnassignPrefixes(within(t), eni, list); err != nil {
			t.Errorf("unassign %v: %v", list, err)
		}
	}
	if held := byID(t, w, eni); len(held.Prefixes) != 0 {
		t.Errorf("prefixes after they were unassigned: %v", held.Prefixes)
	}
	r := request(w)
	r.IPv6Prefixes = 1
	got := create(t, w, r)
	if len(got.Prefixes) != 1 || len(got.Addresses) != r.Addresses || !w.Subnet.CIDR6.Contains(got.Prefixes[0].Addr()) {
		t.Errorf("ENI with a prefix of IPv6: %+v", got)
	}
}
