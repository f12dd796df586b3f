package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/vpcsim"
)

// macs lists the links of a node by their MAC.
func macs(t *testing.T, n *lab.Node) map[string]netlink.Link {
	t.Helper()
	found := map[string]netlink.Link{}
	err := n.Do(func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			found[l.Attrs().HardwareAddr.String()] = l
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// The driver as it is shipped, in a node, plugs an ENI into it and pulls it out again.
func TestAnENIComesAndGoes(t *testing.T) {
	t.Parallel()
	clouds.Each(t, anENIComesAndGoes)
}

func anENIComesAndGoes(t *testing.T, c clouds.Cloud) {
	l := upLab(t, lab.Options{Cloud: c.Name, Nodes: 1, ENIs: 2})
	n := l.Nodes[0]
	before := l.VPC.AllENIs()
	driver := driverOf(l, n)
	var made *cloud.ENI
	err := n.Do(func() error {
		subnets, err := driver.Subnets(t.Context(), cloud.SubnetQuery{InstanceID: n.InstanceID})
		if err != nil {
			return err
		}
		made, err = driver.CreateENI(t.Context(), cloud.CreateENIRequest{
			InstanceID: n.InstanceID, SubnetID: subnets[0].ID, Token: "t", Addresses: 3,
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	link, ok := macs(t, n)[made.MAC]
	if !ok || link.Attrs().Flags&1 != 0 || link.Attrs().Name != "eth2" {
		t.Fatalf("the node's link of %+v: %+v", made, link)
	}
	if e := l.VPC.ENIs(n.InstanceID)[2]; e.ID != made.ID || e.DeleteOnTermination != c.Binds || len(e.Secondary) != 3 {
		t.Errorf("ENI: %+v", e)
	}
	if err := n.Do(func() error { return driver.DeleteENI(t.Context(), n.InstanceID, made.ID) }); err != nil {
		t.Fatal(err)
	}
	if _, ok := macs(t, n)[made.MAC]; ok {
		t.Error("the link is still there")
	}
	if d := cmp.Diff(before, l.VPC.AllENIs(), cmp.Comparer(func(a, b vpcsim.ENI) bool { return a.ID == b.ID })); d != "" {
		t.Errorf("ENIs of the account (-before +after):\n%s", d)
	}
}
