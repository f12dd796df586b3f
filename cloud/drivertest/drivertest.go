// Package drivertest is the conformance test of cloud drivers: what eni-ipam relies on, whichever the cloud. A driver's
// own test calls Run with a simulation of its cloud, once with the driver in the process and once with cloud.Exec.
package drivertest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/enichain/enichain/cloud"
)

// World is a simulated cloud with one instance that is asked about, made for one test. The instance has at least two ENIs,
// and room for at least one more; its ENIs have room for at least four addresses more. A second instance has an ENI too.
type World struct {
	Driver cloud.Driver
	Node   cloud.Node   // what the metadata service has to say
	Limits cloud.Limits // of the instance's type
	Unused netip.Addr   // an address of the primary ENI's subnet that no ENI has

	Held func() []cloud.ENI // what the instance's ENIs hold now, in truth
	// All is every ENI of the account, attached or not, in truth.
	All func() []cloud.ENI
	// Subnet is of the instance's zone, and not the primary ENI's; it alone has the SubnetTags. ElsewhereID is one of
	// another zone.
	Subnet      cloud.Subnet
	SubnetTags  map[string]string
	ElsewhereID string
	// BareID is of a subnet of the instance's zone that has no IPv6; empty for a cloud without. The instance's primary ENI
	// has an address of IPv6 of its own, and the others none.
	BareID string
	// Bound says that the cloud can delete an ENI with its instance.
	Bound          bool
	Slow           func()                          // makes each step of an ENI take time from now on
	Hide           func()                          // makes a new ENI be listed a second after it is made, from now on
	FillSubnet     func(id string, left int) error // leaves so few addresses for ENIs of others to take
	FragmentSubnet func(id string) error           // leaves no room for a prefix; nil where there are none
	Detach         func(eni string) error          // by somebody else

	FreezeMetadata func() // makes the metadata service lag behind from now on
	// Fail makes the cloud refuse the changes from now on with an error of the class, with nothing done, until
	// Recover. The words of the error contain the Secrets.
	Fail    func(cloud.Class)
	Recover func()
	// LoseAnswer makes the cloud carry the next change out and give no answer.
	LoseAnswer func()
	Secrets    []string // what no error may contain
}

// timeout is for one call of a driver, on a busy machine.
const timeout = 30 * time.Second

// Run tests a driver. setup makes a new World for each part.
func Run(t *testing.T, setup func(t *testing.T) *World) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, *World)
	}{
		{"node", testNode},
		{"stale metadata", testStaleMetadata},
		{"enis", testENIs},
		{"limits", testLimits},
		{"assign", testAssign},
		{"assign too many", testAssignTooMany},
		{"assign to nothing", testAssignToNothing},
		{"unassign", testUnassign},
		{"unassign what is gone", testUnassignGone},
		{"unassign the primary", testUnassignPrimary},
		{"refused", testRefused},
		{"lost answer of assign", testLostAssign},
		{"lost answer of unassign", testLostUnassign},
		{"cancelled", testCancelled},
		{"subnets", testSubnets},
		{"create", testCreate},
		{"create with groups", testCreateWithGroups},
		{"create slowly", testCreateSlowly},
		{"create again", testCreateAgain},
		{"create again with another configuration", testCreateOtherwise},
		{"create the one that was detached", testCreateDetached},
		{"create too many", testCreateTooMany},
		{"create in a full subnet", testCreateSubnetFull},
		{"create nowhere", testCreateNowhere},
		{"create refused", testCreateRefused},
		{"lost answers of create", testLostCreate},
		{"delete", testDelete},
		{"delete what is not ours", testDeleteForeign},
		{"lost answers of delete", testLostDelete},
		{"tagged", testTagged},
		{"prefixes", testPrefixes},
		{"assign IPv6", testAssignIPv6},
		{"unassign IPv6", testUnassignIPv6},
		{"IPv6 refused", testRefusedIPv6},
		{"lost answers of IPv6", testLostIPv6},
		{"no IPv6", testNoIPv6},
		{"create with IPv6", testCreateIPv6},
		{"prefixes of IPv6", testIPv6Prefixes},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, setup(t)) })
	}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return ctx
}

func diff(want, got any) string {
	return cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty(),
		cmpopts.SortSlices(func(a, b cloud.ENI) bool { return a.DeviceIndex < b.DeviceIndex }))
}

// WantClass stops the test unless the error is of the class, and returns it.
func WantClass(t *testing.T, err error, want cloud.Class) *cloud.Error {
	t.Helper()
	var e *cloud.Error
	if !errors.As(err, &e) || e.Class != want {
		t.Fatalf("error:\n- want: class %s\n-  got: %#v, %v", want, err, err)
	}
	return e
}

// wantClass fails the test unless the error is of one of the classes and tells no secret.
func wantClass(t *testing.T, w *World, err error, classes ...cloud.Class) {
	t.Helper()
	var e *cloud.Error
	if !errors.As(err, &e) {
		t.Fatalf("error: want a *cloud.Error of class %v, got %T: %v", classes, err, err)
	}
	if !slices.Contains(classes, e.Class) {
		t.Errorf("class of %q:\n- want: %v\n-  got: %v", e, classes, e.Class)
	}
	if e.Message == "" {
		t.Errorf("error of class %s has no message", e.Class)
	}
	for _, s := range w.Secrets {
		if strings.Contains(e.Error(), s) {
			t.Errorf("error tells a secret: %v", e)
		}
	}
}

// orCutShort is a class, and for one that is tried again that of an attempt in the middle of which the time was over.
func orCutShort(class cloud.Class) []cloud.Class {
	if class == cloud.Throttled {
		return []cloud.Class{class, cloud.Unreachable}
	}
	return []cloud.Class{class}
}

// wantHeld fails the test unless the ENIs hold what they held before, and so many addresses more on the ENI.
func wantHeld(t *testing.T, w *World, before []cloud.ENI, eni string, more int) {
	t.Helper()
	for n, e := range w.Held() {
		want := len(before[n].Addresses)
		if e.ID == eni {
			want += more
		}
		if len(e.Addresses) != want {
			t.Errorf("addresses on %s: want %d, got %v", e.ID, want, e.Addresses)
		}
	}
}

func testNode(t *testing.T, w *World) {
	n, err := w.Driver.Node(within(t))
	if err != nil {
		t.Fatal(err)
	}
	want := w.Node
	want.ENIs = slices.Clone(want.ENIs)
	for i, e := range n.ENIs { // a metadata service need not know the cloud's names
		if i < len(want.ENIs) && e.ID == "" {
			want.ENIs[i].ID = ""
		}
		if i < len(want.ENIs) && e.SubnetID == "" {
			want.ENIs[i].SubnetID = ""
		}
	}
	if d := diff(&want, n); d != "" {
		t.Errorf("node (-want +got):\n%s", d)
	}
}

func testStaleMetadata(t *testing.T, w *World) {
	eni := w.Node.ENIs[1].ID
	w.FreezeMetadata()
	if _, err := w.Driver.Assign(within(t), eni, 1); err != nil {
		t.Fatal(err)
	}
	n, err := w.Driver.Node(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if d := diff(w.Node.ENIs[1].Addresses, n.ENIs[1].Addresses); d != "" {
		t.Errorf("node asks somebody else than the metadata service (-metadata +got):\n%s", d)
	}
	enis, err := w.Driver.ENIs(within(t), w.Node.InstanceID)
	if err != nil {
		t.Fatal(err)
	}
	if d := diff(addresses(w.Held(), eni), addresses(enis, eni)); d != "" {
		t.Errorf("enis asks somebody else than the API (-API +got):\n%s", d)
	}
}

// withoutUnknown takes out of the truth what an API need not know and got has not.
func withoutUnknown(truth, got cloud.ENI) cloud.ENI {
	truth.Subnet, truth.Gateway, truth.MTU = got.Subnet, got.Gateway, got.MTU
	truth.Subnet6, truth.Gateway6 = got.Subnet6, got.Gateway6
	if got.Created.IsZero() {
		truth.Created = got.Created
	}
	return truth
}

func addresses(enis []cloud.ENI, id string) []netip.Addr {
	for _, e := range enis {
		if e.ID == id {
			return e.Addresses
		}
	}
	return nil
}

func testENIs(t *testing.T, w *World) {
	got, err := w.Driver.ENIs(within(t), w.Node.InstanceID)
	if err != nil {
		t.Fatal(err)
	}
	want := w.Held()
	for i := range min(len(want), len(got)) {
		want[i] = withoutUnknown(want[i], got[i])
	}
	if d := diff(want, got); d != "" {
		t.Errorf("ENIs (-want +got):\n%s", d)
	}
	_, err = w.Driver.ENIs(within(t), strings.Repeat("x", 3)+w.Node.InstanceID)
	wantClass(t, w, err, cloud.NotFound, cloud.Invalid)
}

func testLimits(t *testing.T, w *World) {
	got, err := w.Driver.Limits(within(t), w.Node.InstanceType)
	if err != nil {
		t.Fatal(err)
	}
	if d := diff(w.Limits, got); d != "" {
		t.Errorf("limits (-want +got):\n%s", d)
	}
	_, err = w.Driver.Limits(within(t), "no.such-type")
	wantClass(t, w, err, cloud.NotFound, cloud.Invalid)
}

func testAssign(t *testing.T, w *World) {
	for _, e := range w.Node.ENIs {
		before := w.Held()
		got, err := w.Driver.Assign(within(t), e.ID, 2)
		if err != nil {
			t.Fatal(err)
		}
		var added []netip.Addr
		for _, ip := range addresses(w.Held(), e.ID) {
			if !slices.Contains(addresses(before, e.ID), ip) {
				added = append(added, ip)
			}
		}
		slices.SortFunc(got, netip.Addr.Compare)
		slices.SortFunc(added, netip.Addr.Compare)
		if d := diff(added, got); len(got) != 2 || d != "" {
			t.Errorf("assigned to %s (-held +got):\n%s", e.ID, d)
		}
	}
	_, err := w.Driver.Assign(within(t), w.Node.ENIs[0].ID, 0)
	wantClass(t, w, err, cloud.Invalid)
}

func testAssignTooMany(t *testing.T, w *World) {
	before, eni := w.Held(), w.Node.ENIs[1].ID
	_, err := w.Driver.Assign(within(t), eni, w.Limits.AddressesPerENI)
	wantClass(t, w, err, cloud.Quota)
	wantHeld(t, w, before, eni, 0)
}

func testAssignToNothing(t *testing.T, w *World) {
	_, err := w.Driver.Assign(within(t), "eni-00000000000000000", 1)
	wantClass(t, w, err, cloud.NotFound)
}

func testUnassign(t *testing.T, w *World) {
	before, eni := w.Held(), w.Node.ENIs[1].ID
	ips, err := w.Driver.Assign(within(t), eni, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Driver.Unassign(within(t), eni, ips[:2]); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, w, before, eni, 1)
	if !slices.Contains(addresses(w.Held(), eni), ips[2]) {
		t.Errorf("%s was unassigned, and not asked for", ips[2])
	}
	err = w.Driver.Unassign(within(t), eni, nil)
	wantClass(t, w, err, cloud.Invalid)
}

func testUnassignGone(t *testing.T, w *World) {
	before, eni := w.Held(), w.Node.ENIs[1].ID
	ips, err := w.Driver.Assign(within(t), eni, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]netip.Addr{ips[:1], ips, ips, {w.Unused}} {
		if err := w.Driver.Unassign(within(t), eni, list); err != nil {
			t.Errorf("unassign %v: %v", list, err)
		}
	}
	wantHeld(t, w, before, eni, 0)
}

func testUnassignPrimary(t *testing.T, w *World) {
	before, e := w.Held(), w.Node.ENIs[1]
	err := w.Driver.Unassign(within(t), e.ID, []netip.Addr{e.PrimaryIP})
	wantClass(t, w, err, cloud.Invalid)
	wantHeld(t, w, before, e.ID, 0)
}

func testRefused(t *testing.T, w *World) {
	before, eni := w.Held(), w.Node.ENIs[1].ID
	for _, class := range []cloud.Class{cloud.Throttled, cloud.Quota, cloud.SubnetFull, cloud.Auth, cloud.Invalid, cloud.Internal} {
		w.Fail(class)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // for the throttled ones, which may be tried again
		_, err := w.Driver.Assign(ctx, eni, 1)
		cancel()
		wantClass(t, w, err, orCutShort(class)...)
		wantHeld(t, w, before, eni, 0)
		w.Recover()
	}
	if _, err := w.Driver.Assign(within(t), eni, 1); err != nil {
		t.Errorf("assign after the cloud recovered: %v", err)
	}
}

func testLostAssign(t *testing.T, w *World) {
	before, eni := w.Held(), w.Node.ENIs[1].ID
	w.LoseAnswer()
	_, err := w.Driver.Assign(within(t), eni, 2)
	wantClass(t, w, err, cloud.Unreachable)
	wantHeld(t, w, before, eni, 2) // once, and not twice
}

func testLostUnassign(t *testing.T, w *World) {
	before, eni := w.Held(), w.Node.ENIs[1].ID
	ips, err := w.Driver.Assign(within(t), eni, 2)
	if err != nil {
		t.Fatal(err)
	}
	w.LoseAnswer()
	err = w.Driver.Unassign(within(t), eni, ips)
	wantClass(t, w, err, cloud.Unreachable)
	wantHeld(t, w, before, eni, 0)
	if err := w.Driver.Unassign(within(t), eni, ips); err != nil { // how the caller settles it
		t.Errorf("unassign again: %v", err)
	}
}

func testCancelled(t *testing.T, w *World) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.Driver.Node(ctx)
	wantClass(t, w, err, cloud.Unreachable)
	_, err = w.Driver.Assign(ctx, w.Node.ENIs[1].ID, 1)
	wantClass(t, w, err, cloud.Unreachable)
}
