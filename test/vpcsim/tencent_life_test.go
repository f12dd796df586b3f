package vpcsim_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	cvm "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/cvm/v20170312"
	vpc "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc/v20170312"
)

// An ENI is created, attached, detached and deleted, and is AVAILABLE both with an attachment and without.
func TestTencentLifeOfAnENI(t *testing.T) {
	v := newTencent(t, "10.0.1.0/24")
	e := launch(t, v, "S5.SMALL1") // which takes two ENIs
	c := tencentClient(t, v, v.Keys(), "ap-guangzhou")
	create := vpc.NewCreateAndAttachNetworkInterfaceRequest()
	create.VpcId, create.SubnetId, create.InstanceId = describeENIs(t, c)[0].VpcId, common.StringPtr("subnet-0b"), &e.InstanceID
	create.NetworkInterfaceName, create.SecondaryPrivateIpAddressCount = common.StringPtr("x"), common.Uint64Ptr(1)
	made, err := c.CreateAndAttachNetworkInterface(create)
	if err != nil || *made.Response.NetworkInterface.State != "PENDING" || made.Response.NetworkInterface.Attachment != nil {
		t.Fatalf("create: %s, error %v", made.ToJsonString(), err)
	}
	id := made.Response.NetworkInterface.NetworkInterfaceId
	remove := vpc.NewDeleteNetworkInterfaceRequest()
	remove.NetworkInterfaceId = id
	_, err = c.DeleteNetworkInterface(remove)
	wantSDKCode(t, "delete while a task runs", err, "UnsupportedOperation.MutexOperationTaskRunning")
	v.Wait()
	n := describeENIs(t, c, "network-interface-id", *id)[0]
	if *n.State != "AVAILABLE" || n.Attachment == nil || *n.Attachment.DeviceIndex != 1 || len(n.PrivateIpAddressSet) != 2 || *n.Primary {
		t.Errorf("attached: %+v", n)
	}
	_, err = c.CreateAndAttachNetworkInterface(create)
	wantSDKCode(t, "one too many", err, "LimitExceeded")
	_, err = c.DeleteNetworkInterface(remove)
	wantSDKCode(t, "delete while it is attached", err, "UnsupportedOperation.InvalidState")
	detach := vpc.NewDetachNetworkInterfaceRequest()
	detach.NetworkInterfaceId, detach.InstanceId = id, &e.InstanceID
	if _, err := c.DetachNetworkInterface(detach); err != nil {
		t.Fatal(err)
	}
	if n := describeENIs(t, c, "network-interface-id", *id)[0]; *n.State != "DETACHING" {
		t.Errorf("being detached: %s", *n.State)
	}
	v.Wait()
	_, err = c.DetachNetworkInterface(detach)
	wantSDKCode(t, "detach again", err, "UnsupportedOperation.AttachmentNotFound")
	if n := describeENIs(t, c, "network-interface-id", *id)[0]; *n.State != "AVAILABLE" || n.Attachment != nil {
		t.Errorf("detached: %+v", n)
	}
	attach := vpc.NewAttachNetworkInterfaceRequest()
	attach.NetworkInterfaceId, attach.InstanceId = id, &e.InstanceID
	if _, err := c.AttachNetworkInterface(attach); err != nil {
		t.Fatal(err)
	}
	v.Wait()
	_, err = c.AttachNetworkInterface(attach)
	wantSDKCode(t, "attach again", err, "UnsupportedOperation.AttachmentAlreadyExists")
	if _, err := c.DetachNetworkInterface(detach); err != nil {
		t.Fatal(err)
	}
	v.Wait()
	if _, err := c.DeleteNetworkInterface(remove); err != nil {
		t.Fatal(err)
	}
	v.Wait()
	if all := v.AllENIs(); len(all) != 1 {
		t.Errorf("left: %+v", all)
	}
}

func TestTencentLimitsAndInstances(t *testing.T) {
	v := newTencent(t, "10.0.1.0/24")
	e := launch(t, v, "S5.2XLARGE16")
	c := tencentClient(t, v, v.Keys(), "ap-guangzhou")
	for _, id := range []string{e.InstanceID, e.ID} {
		r := vpc.NewDescribeNetworkInterfaceLimitRequest()
		r.InstanceId = &id
		if a, err := c.DescribeNetworkInterfaceLimit(r); err != nil || *a.Response.EniQuantity != 6 || *a.Response.EniPrivateIpAddressQuantity != 20 {
			t.Errorf("limits of %s: %s, error %v", id, a.ToJsonString(), err)
		}
	}
	r := vpc.NewDescribeNetworkInterfaceLimitRequest()
	r.InstanceId = common.StringPtr("ins-none")
	_, err := c.DescribeNetworkInterfaceLimit(r)
	wantSDKCode(t, "limits of nothing", err, "InvalidInstanceId.NotFound")
	s := httptest.NewServer(v.Tencent())
	defer s.Close()
	keys := v.Keys()
	machines, err := cvm.NewClient(common.NewCredential(keys.AccessKeyID, keys.SecretAccessKey), "ap-guangzhou", sdkProfile(s.URL))
	if err != nil {
		t.Fatal(err)
	}
	d := cvm.NewDescribeInstancesRequest()
	d.InstanceIds = []*string{&e.InstanceID}
	if a, err := machines.DescribeInstances(d); err != nil || *a.Response.InstanceSet[0].CPU != 8 || *a.Response.InstanceSet[0].InstanceType != "S5.2XLARGE16" {
		t.Errorf("instance: %s, error %v", a.ToJsonString(), err)
	}
}

func TestTencentMetadata(t *testing.T) {
	v := newTencent(t, "10.0.1.0/24")
	e := launch(t, v, "S5.MEDIUM4")
	c := tencentClient(t, v, v.Keys(), "ap-guangzhou")
	s := httptest.NewServer(v.TencentMetadataFor(e.InstanceID))
	defer s.Close()
	m := metadata{t, s.URL}
	if _, err := assignIPs(c, e.ID, 1, ""); err != nil {
		t.Fatal(err)
	}
	v.Wait()
	mac := "/latest/meta-data/network/interfaces/macs/" + strings.ToUpper(e.MAC.String())
	for path, want := range map[string]string{
		"/latest/meta-data/instance-id":               e.InstanceID,
		"/latest/meta-data/instance/instance-type":    "S5.MEDIUM4",
		"/latest/meta-data/mac":                       strings.ToUpper(e.MAC.String()),
		"/latest/meta-data/placement/":                "region\nzone",
		"/latest/meta-data/network/interfaces/macs/":  strings.ToUpper(e.MAC.String()) + "/",
		mac + "/primary-local-ipv4":                   "10.0.1.2",
		mac + "/local-ipv4s/":                         "10.0.1.2/\n10.0.1.3/",
		mac + "/local-ipv4s/10.0.1.3/gateway":         "10.0.1.1",
		mac + "/local-ipv4s/10.0.1.3/subnet-mask":     "255.255.255.0",
		mac + "/subnet-id":                            "subnet-0a",
		"/latest/meta-data/cam/security-credentials/": "enichain-node",
	} {
		status, got, _ := m.do("GET", path)
		if d := cmp.Diff(want, got); status != 200 || d != "" {
			t.Errorf("%s: status %d (-want +got):\n%s", path, status, d)
		}
	}
	for _, path := range []string{
		"/latest/meta-data/Instance-Id", "/latest/meta-data/instance-type", mac + "/interface-id", strings.ToLower(mac) + "/mac",
		"/latest/meta-data/network/interfaces/macs/" + e.MAC.String(),
	} {
		if status, _, _ := m.do("GET", path); status != 404 {
			t.Errorf("%s: want status 404, got %d", path, status)
		}
	}
	if status, _, _ := m.do("PUT", "/latest/meta-data/instance-id"); status != 405 {
		t.Errorf("PUT: status %d", status)
	}
	v.SetRole("")
	if status, _, _ := m.do("GET", "/latest/meta-data/cam/security-credentials/"); status != 404 {
		t.Errorf("role credentials without a role: status %d", status)
	}
}
