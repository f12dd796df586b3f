package vpcsim_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/test/vpcsim"
)

// account is a VPC with an instance of one ENI, and AWS's SDK for it.
type account struct {
	*testing.T
	*vpcsim.VPC
	c       *ec2.Client
	primary vpcsim.ENI
}

func newAccount(t *testing.T, subnet string) *account {
	t.Helper()
	v := vpcsim.New(vpcsim.Config{
		CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
		Subnets: []vpcsim.Subnet{
			{ID: "subnet-0a", CIDR: netip.MustParsePrefix(subnet)},
			{ID: "subnet-0b", CIDR: netip.MustParsePrefix("10.0.200.0/24"), Zone: "us-east-1b"},
		},
	})
	t.Cleanup(v.Close)
	return &account{t, v, client(t, v, v.Keys()), launch(t, v, "m5.large")}
}

// create makes an ENI; change may change the request.
func (a *account) create(change func(*ec2.CreateNetworkInterfaceInput)) (*types.NetworkInterface, error) {
	in := &ec2.CreateNetworkInterfaceInput{SubnetId: aws.String("subnet-0a")}
	if change != nil {
		change(in)
	}
	out, err := a.c.CreateNetworkInterface(a.Context(), in)
	if err != nil {
		return nil, err
	}
	return out.NetworkInterface, nil
}

func (a *account) mustCreate(change func(*ec2.CreateNetworkInterfaceInput)) string {
	a.Helper()
	n, err := a.create(change)
	if err != nil {
		a.Fatal(err)
	}
	return *n.NetworkInterfaceId
}

func (a *account) attach(eni string, index int32) (string, error) {
	out, err := a.c.AttachNetworkInterface(a.Context(), &ec2.AttachNetworkInterfaceInput{
		NetworkInterfaceId: &eni, InstanceId: &a.primary.InstanceID, DeviceIndex: &index,
	})
	if err != nil {
		return "", err
	}
	return *out.AttachmentId, nil
}

func (a *account) detach(attachment string) error {
	_, err := a.c.DetachNetworkInterface(a.Context(), &ec2.DetachNetworkInterfaceInput{AttachmentId: &attachment})
	return err
}

func (a *account) delete(eni string) error {
	_, err := a.c.DeleteNetworkInterface(a.Context(), &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: &eni})
	return err
}

// describe is an ENI's status and, behind a '/', its attachment's.
func (a *account) describe(eni string) string {
	a.Helper()
	out, err := a.c.DescribeNetworkInterfaces(a.Context(), &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{eni}})
	if err != nil {
		return "gone"
	}
	n := out.NetworkInterfaces[0]
	if n.Attachment == nil {
		return string(n.Status)
	}
	return string(n.Status) + "/" + string(n.Attachment.Status)
}

func (a *account) wantState(eni, want string) {
	a.Helper()
	if got := a.describe(eni); got != want {
		a.Errorf("state of %s: want %s, got %s", eni, want, got)
	}
}

func TestLifeOfAnENI(t *testing.T) {
	a := newAccount(t, "10.0.1.0/24")
	eni := a.mustCreate(func(in *ec2.CreateNetworkInterfaceInput) {
		in.SecondaryPrivateIpAddressCount, in.Description = aws.Int32(2), aws.String("for a test")
		in.TagSpecifications = []types.TagSpecification{{
			ResourceType: types.ResourceTypeNetworkInterface, Tags: []types.Tag{{Key: aws.String("owner"), Value: aws.String("me")}},
		}}
	})
	a.wantState(eni, "available")
	attachment, err := a.attach(eni, 1)
	if err != nil {
		t.Fatal(err)
	}
	a.wantState(eni, "in-use/attached")
	if _, err := a.c.ModifyNetworkInterfaceAttribute(t.Context(), &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: &eni,
		Attachment:         &types.NetworkInterfaceAttachmentChanges{AttachmentId: &attachment, DeleteOnTermination: aws.Bool(true)},
	}); err != nil {
		t.Fatal(err)
	}
	e := a.ENIs(a.primary.InstanceID)[1]
	if e.ID != eni || len(e.Secondary) != 2 || !e.DeleteOnTermination || e.Tags["owner"] != "me" || e.Description != "for a test" {
		t.Errorf("ENI: %+v", e)
	}
	wantCode(t, a.delete(eni), "InvalidParameterValue") // it is in use
	if err := a.detach(attachment); err != nil {
		t.Fatal(err)
	}
	a.wantState(eni, "available")
	wantCode(t, a.detach(attachment), "InvalidAttachmentID.NotFound")
	if err := a.delete(eni); err != nil {
		t.Fatal(err)
	}
	a.wantState(eni, "gone")
	wantCode(t, a.delete(eni), "InvalidNetworkInterfaceID.NotFound")
	if n := a.Calls(""); n != 8 {
		t.Errorf("calls that were to change something: want 8, got %d", n)
	}
}

func TestStatesTakeTime(t *testing.T) {
	a := newAccount(t, "10.0.1.0/24")
	const step = 200 * time.Millisecond
	a.SetDelays(vpcsim.Delays{Create: step, Attach: step, Detach: step})
	eni := a.mustCreate(nil)
	a.wantState(eni, "pending")
	_, err := a.attach(eni, 1)
	wantCode(t, err, "IncorrectState")
	a.Wait()
	a.wantState(eni, "available")
	attachment, err := a.attach(eni, 1)
	if err != nil {
		t.Fatal(err)
	}
	a.wantState(eni, "in-use/attaching")
	_, err = a.attach(eni, 2)
	wantCode(t, err, "InvalidNetworkInterface.InUse")
	wantCode(t, a.detach(attachment), "IncorrectState")
	a.Wait()
	a.wantState(eni, "in-use/attached")
	if err := a.detach(attachment); err != nil {
		t.Fatal(err)
	}
	a.wantState(eni, "in-use/detaching")
	wantCode(t, a.delete(eni), "InvalidParameterValue")
	a.Wait()
	a.wantState(eni, "available")
}

func TestANewENIIsNotKnownAtOnce(t *testing.T) {
	a := newAccount(t, "10.0.1.0/24")
	a.SetDelays(vpcsim.Delays{Visible: time.Hour})
	eni := a.mustCreate(nil)
	a.wantState(eni, "gone")
	_, err := a.attach(eni, 1)
	wantCode(t, err, "InvalidNetworkInterfaceID.NotFound")
	a.wantState(a.primary.ID, "in-use/attached")
}

// Close does not wait for an hour.
func TestCloseGivesUp(t *testing.T) {
	a := newAccount(t, "10.0.1.0/24")
	r := &recorder{}
	a.SetFabric(r)
	a.SetDelays(vpcsim.Delays{Attach: time.Hour})
	if _, err := a.attach(a.mustCreate(nil), 1); err != nil {
		t.Fatal(err)
	}
	a.SetDelays(vpcsim.Delays{Fabric: time.Hour})
	if _, err := a.AddENI(a.primary.InstanceID, "subnet-0a", 2, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	a.VPC.Close()
	if len(r.log) != 0 {
		t.Errorf("the fabric worked: %v", r.log)
	}
}

func TestErrorsOfAttach(t *testing.T) {
	a := newAccount(t, "10.0.1.0/24")
	first := a.mustCreate(nil)
	_, err := a.attach(first, 0)
	wantCode(t, err, "InvalidParameterValue")
	if _, err := a.attach(first, 1); err != nil {
		t.Fatal(err)
	}
	_, err = a.attach(a.mustCreate(func(in *ec2.CreateNetworkInterfaceInput) { in.SubnetId = aws.String("subnet-0b") }), 2)
	wantCode(t, err, "InvalidParameterCombination")
	_, err = a.attach(a.mustCreate(func(in *ec2.CreateNetworkInterfaceInput) { in.SecondaryPrivateIpAddressCount = aws.Int32(10) }), 2)
	wantCode(t, err, "PrivateIpAddressLimitExceeded")
	if _, err := a.attach(a.mustCreate(nil), 7); err != nil {
		t.Fatal(err)
	}
	_, err = a.attach(a.mustCreate(nil), 2)
	wantCode(t, err, "AttachmentLimitExceeded")
	wantCode(t, a.detach(a.primary.AttachmentID), "OperationNotPermitted")
	a.SetENIQuota(len(a.AllENIs()))
	_, err = a.create(nil)
	wantCode(t, err, "NetworkInterfaceLimitExceeded")
	_, err = a.create(func(in *ec2.CreateNetworkInterfaceInput) { in.Groups = []string{"sg-nosuch"} })
	wantCode(t, err, "InvalidGroup.NotFound")
}

func TestClientTokens(t *testing.T) {
	a := newAccount(t, "10.0.1.0/24")
	with := func(token string, addresses int32) func(*ec2.CreateNetworkInterfaceInput) {
		return func(in *ec2.CreateNetworkInterfaceInput) {
			in.ClientToken, in.SecondaryPrivateIpAddressCount = &token, &addresses
		}
	}
	first := a.mustCreate(with("t", 2))
	if again := a.mustCreate(with("t", 2)); again != first {
		t.Errorf("the same request: want %s, got %s", first, again)
	}
	_, err := a.create(with("t", 3))
	wantCode(t, err, "IdempotentParameterMismatch")
	if other := a.mustCreate(with("u", 2)); other == first {
		t.Error("another token made the same ENI")
	}
	if n := len(a.AllENIs()); n != 3 {
		t.Errorf("ENIs: want 3, got %d", n)
	}
}

func TestPrefixes(t *testing.T) {
	a := newAccount(t, "10.0.1.0/25")
	r := &recorder{}
	a.SetFabric(r)
	prefixes := func(count int32) ([]string, error) {
		out, err := a.c.AssignPrivateIpAddresses(t.Context(), &ec2.AssignPrivateIpAddressesInput{
			NetworkInterfaceId: &a.primary.ID, Ipv4PrefixCount: &count,
		})
		if err != nil {
			return nil, err
		}
		var got []string
		for _, p := range out.AssignedIpv4Prefixes {
			got = append(got, *p.Ipv4Prefix)
		}
		return got, nil
	}
	// The first block has the reserved addresses and the ENI's, the last the broadcast address.
	got, err := prefixes(2)
	if err != nil || !slices.Equal(got, []string{"10.0.1.16/28", "10.0.1.32/28"}) || len(r.log) != 32 {
		t.Fatalf("two prefixes: got %v, error %v; the fabric did %d things", got, err, len(r.log))
	}
	ips, err := assign(a.c, a.primary.ID, 1)
	if err != nil || ips[0] != "10.0.1.5" {
		t.Errorf("an address beside the prefixes: got %v, error %v", ips, err)
	}
	if err := a.FragmentSubnet("subnet-0a"); err != nil {
		t.Fatal(err)
	}
	_, err = prefixes(1)
	wantCode(t, err, "InsufficientCidrBlocks")
	if _, err := assign(a.c, a.primary.ID, 5); err != nil {
		t.Errorf("a fragmented subnet still has addresses: %v", err)
	}
	_, err = a.c.UnassignPrivateIpAddresses(t.Context(), &ec2.UnassignPrivateIpAddressesInput{
		NetworkInterfaceId: &a.primary.ID, Ipv4Prefixes: got[1:],
	})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := prefixes(1); err != nil || !slices.Equal(again, got[1:]) {
		t.Errorf("the freed prefix again: got %v, error %v", again, err)
	}
	_, err = prefixes(2) // 1 + 6 + 2 of 10 are taken
	wantCode(t, err, "PrivateIpAddressLimitExceeded")
	old := launch(t, a.VPC, "t2.medium")
	_, err = a.c.AssignPrivateIpAddresses(t.Context(), &ec2.AssignPrivateIpAddressesInput{NetworkInterfaceId: &old.ID, Ipv4PrefixCount: aws.Int32(1)})
	wantCode(t, err, "InvalidParameterCombination")
	m := serve(t, a.VPC, a.primary)
	path := "/latest/meta-data/network/interfaces/macs/" + a.primary.MAC.String()
	if _, text, _ := m.do("GET", path+"/ipv4-prefix", m.token()); text != "10.0.1.16/28\n10.0.1.32/28" {
		t.Errorf("the metadata service's prefixes: %q", text)
	}
	if _, text, _ := m.do("GET", path+"/local-ipv4s", m.token()); strings.Contains(text, "10.0.1.17") {
		t.Errorf("addresses of a prefix among local-ipv4s: %q", text)
	}
}

func TestSubnetsThatOthersFill(t *testing.T) {
	a := newAccount(t, "10.0.1.0/24")
	free := func() int32 {
		out, err := a.c.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{SubnetIds: []string{"subnet-0a"}})
		if err != nil {
			t.Fatal(err)
		}
		return *out.Subnets[0].AvailableIpAddressCount
	}
	if n := free(); n != 250 {
		t.Errorf("free beside the one of the primary ENI: want 250, got %d", n)
	}
	if err := a.FillSubnet("subnet-0a", 3); err != nil {
		t.Fatal(err)
	}
	_, err := a.create(func(in *ec2.CreateNetworkInterfaceInput) { in.SecondaryPrivateIpAddressCount = aws.Int32(3) })
	wantCode(t, err, "InsufficientFreeAddressesInSubnet")
	a.mustCreate(func(in *ec2.CreateNetworkInterfaceInput) { in.SecondaryPrivateIpAddressCount = aws.Int32(2) })
	if n := free(); n != 0 {
		t.Errorf("free after the last ones were taken: %d", n)
	}
	a.EmptySubnets()
	if n := free(); n != 247 {
		t.Errorf("free after the others left: want 247, got %d", n)
	}
	out, err := a.c.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{
		Filters: []types.Filter{{Name: aws.String("availability-zone"), Values: []string{"us-east-1b"}}},
	})
	if err != nil || len(out.Subnets) != 1 || *out.Subnets[0].SubnetId != "subnet-0b" {
		t.Errorf("subnets of another zone: %+v, error %v", out, err)
	}
}

func TestThrottle(t *testing.T) {
	a := newAccount(t, "10.0.1.0/24")
	a.Throttle(vpcsim.Bucket{Action: "AssignPrivateIpAddresses", Burst: 2, PerSecond: 5})
	for range 2 {
		if _, err := assign(a.c, a.primary.ID, 1); err != nil {
			t.Fatal(err)
		}
	}
	_, err := assign(a.c, a.primary.ID, 1)
	wantCode(t, err, "RequestLimitExceeded")
	if a.Throttled() != 1 {
		t.Errorf("throttled calls: want 1, got %d", a.Throttled())
	}
	a.wantState(a.primary.ID, "in-use/attached") // another action's
	time.Sleep(250 * time.Millisecond)           // what the bucket is about
	if _, err := assign(a.c, a.primary.ID, 1); err != nil {
		t.Errorf("after a token came back: %v", err)
	}
	a.ClearFaults()
	for range 3 {
		if _, err := assign(a.c, a.primary.ID, 1); err != nil {
			t.Errorf("after ClearFaults: %v", err)
		}
	}
}

func TestMetadataLags(t *testing.T) {
	a := newAccount(t, "10.0.1.0/24")
	m := serve(t, a.VPC, a.primary)
	token := m.token()
	const lag = 300 * time.Millisecond
	a.LagMetadata(lag)
	began := time.Now()
	if _, err := assign(a.c, a.primary.ID, 1); err != nil {
		t.Fatal(err)
	}
	path := "/latest/meta-data/network/interfaces/macs/" + a.primary.MAC.String() + "/local-ipv4s"
	for {
		_, got, _ := m.do("GET", path, token)
		took := time.Since(began)
		if got == "10.0.1.4\n10.0.1.5" {
			if took < lag {
				t.Errorf("it followed after %s", took)
			}
			return
		}
		if got != "10.0.1.4" || took > 5*time.Second {
			t.Fatalf("after %s it says %q", took, got)
		}
		time.Sleep(10 * time.Millisecond) // what lags sends no event
	}
}

// An ENI on its way in or out has no metadata.
func TestMetadataOfAttachedENIs(t *testing.T) {
	a := newAccount(t, "10.0.1.0/24")
	m := serve(t, a.VPC, a.primary)
	count := func() int {
		_, text, _ := m.do("GET", "/latest/meta-data/network/interfaces/macs/", m.token())
		return len(strings.Fields(text))
	}
	a.SetDelays(vpcsim.Delays{Attach: 100 * time.Millisecond})
	eni := a.mustCreate(nil)
	if _, err := a.attach(eni, 1); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 1 {
		t.Errorf("while it is attaching: %d ENIs", n)
	}
	a.Wait()
	if n := count(); n != 2 {
		t.Errorf("attached: %d ENIs", n)
	}
	if err := a.DetachENI(eni); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 1 {
		t.Errorf("detached: %d ENIs", n)
	}
}

func TestFabricOfENIsThatComeAndGo(t *testing.T) {
	a := newAccount(t, "10.0.1.0/24")
	r := &recorder{}
	a.SetFabric(r)
	eni := a.mustCreate(func(in *ec2.CreateNetworkInterfaceInput) { in.SecondaryPrivateIpAddressCount = aws.Int32(1) })
	if _, err := assign(a.c, eni, 1); err != nil { // attached to nothing, it has no place in the network
		t.Fatal(err)
	}
	attachment, err := a.attach(eni, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.detach(attachment); err != nil {
		t.Fatal(err)
	}
	r.failAt = "attach 10.0.1.5"
	_, err = a.attach(eni, 1)
	wantCode(t, err, "InternalError")
	a.wantState(eni, "available")
	want := []string{
		"attach 10.0.1.5", "assign 10.0.1.5", "assign 10.0.1.6", "assign 10.0.1.7", "detach 10.0.1.5", "attach 10.0.1.5",
	}
	if d := cmp.Diff(want, r.log); d != "" {
		t.Errorf("the fabric's work (-want +got):\n%s", d)
	}
}

func TestTerminate(t *testing.T) {
	a := newAccount(t, "10.0.1.0/24")
	stays := a.mustCreate(nil)
	if _, err := a.attach(stays, 1); err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	a.SetFabric(r)
	if err := a.Terminate(a.primary.InstanceID); err != nil {
		t.Fatal(err)
	}
	a.wantState(a.primary.ID, "gone")
	a.wantState(stays, "available")
	if !slices.Equal(r.log, []string{"detach 10.0.1.4", "detach 10.0.1.5"}) {
		t.Errorf("the fabric's work: %v", r.log)
	}
	var e *vpcsim.APIError
	if err := a.Terminate(a.primary.InstanceID); !errors.As(err, &e) || e.Code != "InvalidInstanceID.NotFound" {
		t.Errorf("terminated twice: %v", err)
	}
}

func TestBehindTheBack(t *testing.T) {
	a := newAccount(t, "10.0.1.0/24")
	added, err := a.AddAddresses(a.primary.ID, 2)
	if err != nil || len(added) != 2 {
		t.Fatalf("added %v, error %v", added, err)
	}
	if err := a.RemoveAddress(added[0]); err != nil {
		t.Fatal(err)
	}
	if err := a.RemoveAddress(added[0]); err == nil {
		t.Error("an address was removed twice")
	}
	eni := a.mustCreate(nil)
	if _, err := a.attach(eni, 1); err != nil {
		t.Fatal(err)
	}
	before := a.Calls("")
	if err := a.VPC.DeleteENI(eni); err != nil {
		t.Fatal(err)
	}
	if err := a.VPC.DeleteENI(a.primary.ID); err == nil {
		t.Error("the primary ENI was deleted")
	}
	if held := a.ENIs(a.primary.InstanceID); len(held) != 1 || !slices.Equal(held[0].Secondary, added[1:]) || a.Calls("") != before {
		t.Errorf("left: %+v after %d calls", held, a.Calls("")-before)
	}
}

// Whatever many callers do at once, no address and no device index is used twice.
func TestConcurrentLives(t *testing.T) {
	a := newAccount(t, "10.0.0.0/20")
	a.SetDelays(vpcsim.Delays{Create: time.Millisecond, Attach: time.Millisecond, Detach: time.Millisecond})
	done := make(chan error)
	const callers = 8
	for n := range callers {
		go func() { done <- a.live(int32(1 + n%4)) }()
	}
	for range callers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	a.Wait()
	if all := a.AllENIs(); len(all) != 1 {
		t.Errorf("left: %+v", all)
	}
}

// live takes ENIs through their lives at a device index, which others may have taken, until it had its way five times.
func (a *account) live(index int32) error {
	for range 5 {
		n, err := a.create(func(in *ec2.CreateNetworkInterfaceInput) { in.SecondaryPrivateIpAddressCount = aws.Int32(3) })
		if err != nil {
			return err
		}
		for attached := false; ; {
			switch state := a.describe(*n.NetworkInterfaceId); {
			case state == "available" && !attached:
				_, err := a.attach(*n.NetworkInterfaceId, index)
				attached = err == nil
				continue
			case state == "in-use/attached":
				_ = a.DetachENI(*n.NetworkInterfaceId) // in the time between it cannot have changed
				continue
			case state != "available":
				continue
			}
			break
		}
		if err := a.delete(*n.NetworkInterfaceId); err != nil {
			return err
		}
		seen := map[netip.Addr]string{}
		for _, e := range a.AllENIs() {
			for _, ip := range append(e.Secondary, e.PrimaryIP) {
				if seen[ip] != "" {
					return fmt.Errorf("%s is %s's and %s's", ip, seen[ip], e.ID)
				}
				seen[ip] = e.ID
			}
		}
	}
	return nil
}
