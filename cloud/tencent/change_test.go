package tencent_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/drivertest"
	"github.com/enichain/enichain/cloud/tencent"
	"github.com/enichain/enichain/test/vpcsim"
)

func contextWithTimeout(t *testing.T, limit time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), limit)
}

// Any number of addresses is asked for in one call. A call names ten at most: what is given back takes several, and each
// waits for the task of the one before.
func TestManyAddresses(t *testing.T) {
	s := newSiteOf(t, "S5.4XLARGE32")
	d := s.driver(t, nil)
	ips, err := d.Assign(t.Context(), s.eni(1).ID, 25)
	if err != nil || len(ips) != 25 {
		t.Fatalf("assign 25: got %v, error %v", ips, err)
	}
	if n := s.Calls("AssignPrivateIpAddresses"); n != 1 {
		t.Errorf("calls: want 1, got %d", n)
	}
	if enis, err := d.ENIs(t.Context(), s.Instance.ID); err != nil || !slices.Equal(enis[1].Addresses, ips) {
		t.Errorf("ENIs: got %v, error %v", enis, err)
	}
	// Four places are left.
	_, err = d.Assign(t.Context(), s.eni(1).ID, 10)
	drivertest.WantClass(t, err, cloud.Quota)
	if err := d.Unassign(t.Context(), s.eni(1).ID, ips[:22]); err != nil {
		t.Fatal(err)
	}
	if n := s.Calls("UnassignPrivateIpAddresses"); n != 3 {
		t.Errorf("calls to unassign: want 3, got %d", n)
	}
	if held := s.eni(1).Secondary; !slices.Equal(held, ips[22:]) {
		t.Errorf("left: want %v, got %v", ips[22:], held)
	}
}

func TestAssignInAFullSubnet(t *testing.T) {
	s := newSiteOf(t, "S5.4XLARGE32")
	if err := s.FillSubnet("subnet-0b", 13); err != nil {
		t.Fatal(err)
	}
	_, err := s.driver(t, nil).Assign(t.Context(), s.eni(1).ID, 15)
	drivertest.WantClass(t, err, cloud.SubnetFull)
	if held := s.Held(false)[1].Addresses; len(held) != 0 {
		t.Errorf("held: %v", held)
	}
}

// An address is returned when its task has ended, and not when the API lists it as PENDING.
func TestAssignWaitsForItsTask(t *testing.T) {
	s := newSite(t)
	const delay = 400 * time.Millisecond
	s.Inject(vpcsim.Fault{Action: vpcsim.Task, Delay: delay})
	began := time.Now()
	if _, err := s.driver(t, nil).Assign(t.Context(), s.eni(1).ID, 2); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("assign returned after %v, before its task's %v", took, delay)
	}
	if n := s.Calls("DescribeVpcTaskResult"); n < 2 || n > 4 {
		t.Errorf("looks at the task in %v: %d", delay, n)
	}
}

// Who asks what there is, is told of addresses that are on their way.
func TestENIsWaitForPendingAddresses(t *testing.T) {
	s := newSite(t)
	s.Inject(vpcsim.Fault{Action: vpcsim.Task, Delay: 300 * time.Millisecond})
	s.Inject(vpcsim.Fault{Action: "AssignPrivateIpAddresses", AfterEffect: true})
	d := s.driver(t, nil)
	_, err := d.Assign(t.Context(), s.eni(1).ID, 2)
	drivertest.WantClass(t, err, cloud.Unreachable)
	enis, err := d.ENIs(t.Context(), s.Instance.ID)
	if err != nil || len(enis[1].Addresses) != 2 {
		t.Errorf("ENIs after a lost answer: got %+v, error %v", enis, err)
	}
}

// A task that fails has done nothing, and the caller has to look all the same.
func TestFailedTask(t *testing.T) {
	s := newSite(t)
	d := s.driver(t, nil)
	s.Inject(vpcsim.Fault{Action: vpcsim.Task, Code: "InternalError", Message: "no luck"})
	_, err := d.Assign(t.Context(), s.eni(1).ID, 2)
	e := drivertest.WantClass(t, err, cloud.Internal)
	if !e.Class.Ambiguous() || !strings.Contains(e.Message, "no luck") || e.RequestID == "" {
		t.Errorf("error: got %#v", e)
	}
	if held := s.eni(1).Secondary; len(held) != 0 {
		t.Errorf("a failed task assigned %v", held)
	}
	ips, err := d.Assign(t.Context(), s.eni(1).ID, 2)
	if err != nil {
		t.Fatal(err)
	}
	s.Inject(vpcsim.Fault{Action: vpcsim.Task, Code: "InternalError"})
	drivertest.WantClass(t, d.Unassign(t.Context(), s.eni(1).ID, ips), cloud.Internal)
	if held := s.eni(1).Secondary; !slices.Equal(held, ips) {
		t.Errorf("a failed task unassigned some of %v: %v are left", ips, held)
	}
}

// Without the permission to look at tasks, the addresses' states tell.
func TestWithoutTasks(t *testing.T) {
	for _, code := range []string{"UnauthorizedOperation", "ResourceNotFound"} {
		s := newSite(t)
		d := s.driver(t, nil)
		s.Inject(vpcsim.Fault{Action: "DescribeVpcTaskResult", Code: code, Times: -1})
		s.Inject(vpcsim.Fault{Action: vpcsim.Task, Delay: 200 * time.Millisecond})
		ips, err := d.Assign(t.Context(), s.eni(1).ID, 2)
		if err != nil || len(ips) != 2 {
			t.Errorf("%s: assigned %v, error %v", code, ips, err)
		}
		s.Inject(vpcsim.Fault{Action: vpcsim.Task, Code: "InternalError"})
		_, err = d.Assign(t.Context(), s.eni(1).ID, 1)
		drivertest.WantClass(t, err, cloud.Internal)
		if err := d.Unassign(t.Context(), s.eni(1).ID, ips); err != nil {
			t.Errorf("%s: unassign: %v", code, err)
		}
	}
}

// One task an ENI at a time: who comes second waits, and does not fail.
func TestOneTaskAtATime(t *testing.T) {
	s := newSite(t)
	eni := s.eni(1).ID
	var all sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		all.Go(func() { _, errs[i] = s.driver(t, nil).Assign(t.Context(), eni, 2) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if held := s.eni(1).Secondary; len(held) != 8 {
		t.Errorf("held: %v", held)
	}
}

// A call whose task does not end within the deadline is Unreachable: nobody knows what will become of it.
func TestTaskOutlastsTheDeadline(t *testing.T) {
	s := newSite(t)
	s.Inject(vpcsim.Fault{Action: vpcsim.Task, Delay: time.Minute})
	ctx, cancel := contextWithTimeout(t, 500*time.Millisecond)
	defer cancel()
	_, err := s.driver(t, nil).Assign(ctx, s.eni(1).ID, 1)
	if e := drivertest.WantClass(t, err, cloud.Unreachable); e.RequestID == "" {
		t.Errorf("the error does not name the task: %v", e)
	}
}

func TestNoAnswerInTime(t *testing.T) {
	s := newSite(t)
	s.Inject(vpcsim.Fault{Action: "AssignPrivateIpAddresses", Delay: time.Minute})
	ctx, cancel := contextWithTimeout(t, 300*time.Millisecond)
	defer cancel()
	_, err := s.driver(t, nil).Assign(ctx, s.eni(1).ID, 1)
	drivertest.WantClass(t, err, cloud.Unreachable)
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	l.Close()
	s := newSite(t)
	for name, config := range map[string]string{
		"API":      fmt.Sprintf(`{"vpcEndpoint": %q, "metadataEndpoint": %q}`, nobody, s.metadata.URL),
		"metadata": fmt.Sprintf(`{"vpcEndpoint": %q, "metadataEndpoint": %q}`, s.api.URL, nobody),
	} {
		d, err := tencent.New([]byte(config), func(string) string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Assign(t.Context(), s.eni(1).ID, 1)
		if e := drivertest.WantClass(t, err, cloud.Unreachable); !strings.Contains(e.Message, "refused") {
			t.Errorf("%s: message doesn't say why: %s", name, e.Message)
		}
	}
}

func TestThrottledCallsAreRepeated(t *testing.T) {
	for _, code := range []string{"RequestLimitExceeded", "UnsupportedOperation.MutexOperationTaskRunning"} {
		s := newSite(t)
		s.Inject(vpcsim.Fault{Action: "AssignPrivateIpAddresses", Code: code, Times: 2})
		ips, err := s.driver(t, nil).Assign(t.Context(), s.eni(1).ID, 2)
		if err != nil || len(ips) != 2 {
			t.Fatalf("assign: got %v, error %v", ips, err)
		}
		if n := s.Calls("AssignPrivateIpAddresses"); n != 3 {
			t.Errorf("attempts: want 3, got %d", n)
		}
	}
}

// A call that changes nothing is repeated after the cloud's own failure; one that may have changed something is not.
func TestWhatIsRepeated(t *testing.T) {
	s := newSite(t)
	s.Inject(vpcsim.Fault{Code: "InternalError"})
	if _, err := s.driver(t, nil).ENIs(t.Context(), s.Instance.ID); err != nil {
		t.Error(err)
	}
	s.Inject(vpcsim.Fault{Action: "AssignPrivateIpAddresses", Code: "InternalError", AfterEffect: true})
	_, err := s.driver(t, nil).Assign(t.Context(), s.eni(1).ID, 2)
	drivertest.WantClass(t, err, cloud.Internal)
	if held := s.eni(1).Secondary; len(held) != 2 {
		t.Errorf("addresses held: want 2, got %v", held)
	}
}

func TestClassesOfCodes(t *testing.T) {
	s := newSite(t)
	for code, want := range map[string]cloud.Class{
		"LimitExceeded": cloud.Quota,
		"LimitExceeded.NetworkInterfaceLimitExceeded": cloud.Quota,
		"InvalidParameterValue.LimitExceeded":         cloud.Quota,
		"ResourceInsufficient":                        cloud.SubnetFull,
		"ResourceInsufficient.Subnet":                 cloud.SubnetFull,
		"AuthFailure.SecretIdNotFound":                cloud.Auth,
		"AuthFailure.SignatureExpire":                 cloud.Auth,
		"UnauthorizedOperation":                       cloud.Auth,
		"ResourceNotFound":                            cloud.NotFound,
		"InvalidInstanceId.NotFound":                  cloud.NotFound,
		"UnsupportedOperation.AttachmentNotFound":     cloud.NotFound,
		"UnsupportedOperation.ZoneMismatch":           cloud.Invalid,
		"InvalidParameterValue.Range":                 cloud.Invalid,
		"MissingParameter":                            cloud.Invalid,
		"ResourceInUse":                               cloud.Invalid,
		"UnsupportedRegion":                           cloud.Invalid,
		"InternalError.ModuleError":                   cloud.Internal,
		"FailedOperation.NetDetectTimeOut":            cloud.Internal,
		"SomethingNew":                                cloud.Internal,
	} {
		s.Inject(vpcsim.Fault{Action: "AssignPrivateIpAddresses", Code: code, Message: "told you so"})
		_, err := s.driver(t, nil).Assign(t.Context(), s.eni(1).ID, 1)
		e := drivertest.WantClass(t, err, want)
		if e.Code != code || e.Message != "told you so" || e.RequestID == "" {
			t.Errorf("error of %s: got %#v", code, e)
		}
	}
}

// A proxy's or load balancer's page is not the cloud's answer.
func TestAnswerThatIsNotTheClouds(t *testing.T) {
	for _, status := range []int{http.StatusBadGateway, http.StatusOK} {
		s := newSite(t)
		s.Inject(vpcsim.Fault{Action: "AssignPrivateIpAddresses", Status: status, Message: "<html>" + s.Role().Token + "</html>"})
		_, err := s.driver(t, nil).Assign(t.Context(), s.eni(1).ID, 1)
		if e := drivertest.WantClass(t, err, cloud.Internal); !strings.Contains(e.Message, "proxy") || strings.Contains(e.Message, s.Role().Token) {
			t.Errorf("status %d: got %#v", status, e)
		}
	}
}

// What is gone from the ENI behind our back is no error, also where it goes between our look and our call.
func TestUnassignRacesWithAnother(t *testing.T) {
	s := newSite(t)
	d := s.driver(t, nil)
	ips, err := d.Assign(t.Context(), s.eni(1).ID, 3)
	if err != nil {
		t.Fatal(err)
	}
	api := s.api.Config.Handler
	s.api.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-TC-Action") == "UnassignPrivateIpAddresses" {
			_ = s.RemoveAddress(ips[1]) // the second time it is gone
		}
		api.ServeHTTP(w, r)
	})
	if err := d.Unassign(t.Context(), s.eni(1).ID, ips); err != nil {
		t.Error(err)
	}
	if held := s.eni(1).Secondary; len(held) != 0 {
		t.Errorf("left: %v", held)
	}
	_, none := d.Assign(t.Context(), "eni-00000000", 1)
	drivertest.WantClass(t, none, cloud.NotFound)
	drivertest.WantClass(t, d.Unassign(t.Context(), "eni-00000000", []netip.Addr{ips[0]}), cloud.NotFound)
}
