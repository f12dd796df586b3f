package lab_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
	"github.com/enichain/enichain/test/vpcsim"
)

// call calls the EC2 API from the node, which has to succeed, and reads the answer into out.
func call(t *testing.T, n *lab.Node, out any, parameters ...string) {
	t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(parameters); i += 2 {
		form.Set(parameters[i], parameters[i+1])
	}
	status, body := ec2(t, n, form)
	if status != http.StatusOK {
		t.Fatalf("%v: status %d: %s", parameters, status, body)
	}
	if err := xml.Unmarshal(body, out); err != nil {
		t.Fatal(err)
	}
}

// create makes an ENI in subnet-b with a secondary address.
func create(t *testing.T, n *lab.Node) (id string, mac string) {
	t.Helper()
	var made struct {
		ID  string `xml:"networkInterface>networkInterfaceId"`
		MAC string `xml:"networkInterface>macAddress"`
	}
	call(t, n, &made, "Action", "CreateNetworkInterface", "SubnetId", "subnet-b", "SecondaryPrivateIpAddressCount", "1")
	return made.ID, made.MAC
}

func attach(t *testing.T, n *lab.Node, eni string, index int) (attachment string) {
	t.Helper()
	var made struct {
		ID string `xml:"attachmentId"`
	}
	call(
		t, n, &made, "Action", "AttachNetworkInterface", "NetworkInterfaceId", eni, "InstanceId", n.InstanceID,
		"DeviceIndex", fmt.Sprint(index),
	)
	return made.ID
}

// waitForLink waits until the node has a link with the MAC, and returns it.
func waitForLink(t *testing.T, n *lab.Node, mac string) netlink.Link {
	t.Helper()
	done := make(chan struct{})
	defer close(done)
	var updates chan netlink.LinkUpdate
	do(t, &n.Host, func() error {
		updates = make(chan netlink.LinkUpdate, 16)
		return netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{ListExisting: true})
	})
	timeout := time.After(patience)
	for {
		select {
		case u := <-updates:
			if u.Header.Type == unix.RTM_NEWLINK && u.Link != nil && u.Attrs().HardwareAddr.String() == mac {
				return u.Link
			}
		case <-timeout:
			t.Fatalf("%s has no link with MAC %s", n.Name, mac)
		}
	}
}

// hasLink says whether the node has a link of that name.
func hasLink(t *testing.T, n *lab.Node, name string) bool {
	t.Helper()
	found := false
	do(t, &n.Host, func() error {
		_, err := netlink.LinkByName(name)
		found = err == nil
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			err = nil
		}
		return err
	})
	return found
}

func TestAnENIIsPluggedIntoARunningNode(t *testing.T) {
	l := up(t, lab.Options{ENIs: 2})
	n := l.Node("node1")
	eni, mac := create(t, n)
	if link := l.Link(eni); link != "" {
		t.Errorf("an ENI that is attached to nothing is called %s", link)
	}
	attachment := attach(t, n, eni, 2)
	link := waitForLink(t, n, mac)
	if link.Attrs().Name != "eth2" || link.Attrs().Flags&1 != 0 || link.Attrs().MTU != 9001 || l.Link(eni) != "eth2" {
		t.Errorf("want eth2, down, with MTU 9001; got %+v", link.Attrs())
	}
	do(t, &n.Host, func() error {
		addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
		if len(addresses) != 0 {
			t.Errorf("it is not bare: %v", addresses)
		}
		return err
	})
	e := l.VPC.ENIs(n.InstanceID)[2]
	prepare(t, n, "eth2", e.PrimaryIP.String(), "10.19.16.1", 3)
	if _, err := ping(t, &l.Node("node2").Host, e.PrimaryIP.String(), probe.From{}); err != nil {
		t.Errorf("the ENI's primary address: %v", err)
	}
	if !arrives(t, l, e.Secondary[0].String(), "eth2", patience) {
		t.Errorf("its secondary address %s did not come in", e.Secondary[0])
	}
	var done struct{}
	call(t, n, &done, "Action", "DetachNetworkInterface", "AttachmentId", attachment)
	if hasLink(t, n, "eth2") {
		t.Error("the link stayed when the ENI was detached")
	}
	call(t, n, &done, "Action", "DeleteNetworkInterface", "NetworkInterfaceId", eni)
}

// A free name is used again, as the kernel does, whatever the device index is.
func TestNamesOfPluggedLinks(t *testing.T) {
	l := up(t, lab.Options{Nodes: 1, ENIs: 2, InstanceType: "c5.4xlarge"})
	n := l.Node("node1")
	if err := l.VPC.DetachENI(l.VPC.ENIs(n.InstanceID)[1].ID); err != nil {
		t.Fatal(err)
	}
	eni, mac := create(t, n)
	attach(t, n, eni, 5)
	if name := waitForLink(t, n, mac).Attrs().Name; name != "eth1" {
		t.Errorf("device index 5: want eth1, got %s", name)
	}
	l = up(t, lab.Options{Nodes: 1, ENIs: 2, Hotplug: "ens%d"})
	n = l.Node("node1")
	eni, mac = create(t, n)
	attach(t, n, eni, 2)
	if name := waitForLink(t, n, mac).Attrs().Name; name != "ens0" || l.Link(eni) != name {
		t.Errorf("with Hotplug: want ens0, got %s, known as %s", name, l.Link(eni))
	}
	if _, err := lab.Up(t.Context(), lab.Options{Hotplug: "eth"}); err == nil {
		t.Error("a name without a number is accepted")
	}
}

// The API may say attached before the link is there, and takes its time for that.
func TestALinkThatIsLate(t *testing.T) {
	l := up(t, lab.Options{Nodes: 1, ENIs: 2})
	n := l.Node("node1")
	const attaching, late = 300 * time.Millisecond, 300 * time.Millisecond
	l.VPC.SetDelays(vpcsim.Delays{Attach: attaching, Fabric: late})
	began := time.Now()
	eni, mac := create(t, n)
	attach(t, n, eni, 2)
	if state := l.VPC.ENIs(n.InstanceID)[2].State; state != vpcsim.Attaching {
		t.Errorf("state right after the call: %s", state)
	}
	waitForLink(t, n, mac)
	if took := time.Since(began); took < attaching+late {
		t.Errorf("the link came after %s", took)
	}
	if state := l.VPC.ENIs(n.InstanceID)[2].State; state != vpcsim.Attached {
		t.Errorf("state with the link there: %s", state)
	}
}

// A prefix's addresses are delivered, and may be sources, like others.
func TestPrefixesAreRouted(t *testing.T) {
	l := up(t, lab.Options{})
	n := l.Node("node1")
	prepare(t, n, "eth1", node1Eth1, "10.19.16.1", 2)
	var answer struct {
		Prefixes []string `xml:"assignedIpv4PrefixSet>item>ipv4Prefix"`
	}
	call(
		t, n, &answer, "Action", "AssignPrivateIpAddresses", "NetworkInterfaceId", l.VPC.ENIs(n.InstanceID)[1].ID,
		"Ipv4PrefixCount", "1",
	)
	if len(answer.Prefixes) != 1 {
		t.Fatalf("prefixes: %v", answer.Prefixes)
	}
	first := netip.MustParsePrefix(answer.Prefixes[0]).Addr()
	for _, ip := range []netip.Addr{first, first.Next().Next()} {
		if !arrives(t, l, ip.String(), "eth1", patience) {
			t.Errorf("%s did not come in by eth1", ip)
		}
	}
}

func TestATerminatedNode(t *testing.T) {
	l := up(t, lab.Options{ENIs: 2})
	n := l.Node("node2")
	kept := l.VPC.ENIs(n.InstanceID)[1].ID
	if err := l.VPC.Terminate(n.InstanceID); err != nil {
		t.Fatal(err)
	}
	if hasLink(t, n, "eth0") || hasLink(t, n, "eth1") {
		t.Error("the node still has its links")
	}
	all := l.VPC.AllENIs()
	if last := all[len(all)-1]; len(all) != 3 || last.ID != kept || last.State != vpcsim.Available {
		t.Errorf("ENIs of the account: %+v", all)
	}
}
