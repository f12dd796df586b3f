package tencent

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	vpcsdk "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc/v20170312"

	"github.com/enichain/enichain/cloud"
)

// maxNaming is how much of a call's time the API may take for what the metadata service does not know.
const maxNaming = 5 * time.Second

// Node implements cloud.Driver. The metadata service of Tencent Cloud knows neither the IDs and device indexes of ENIs nor
// the VPC's ranges, nor anything of IPv6: those the API adds. Where it cannot, for want of credentials or else, they are left out, and the rest
// is as good.
func (d *Driver) Node(ctx context.Context) (*cloud.Node, error) {
	n := &cloud.Node{}
	for path, text := range map[string]*string{"instance-id": &n.InstanceID, "placement/region": &n.Region, "mac": &n.PrimaryMAC} {
		var err error
		if *text, err = d.metadata.read(ctx, path); err != nil {
			return nil, metadataError(err)
		}
	}
	n.PrimaryMAC = strings.ToLower(n.PrimaryMAC)
	var err error
	if n.InstanceType, err = d.metadata.read(ctx, "instance/instance-type"); err != nil && !errors.Is(err, errAbsent) {
		return nil, metadataError(err)
	}
	vpc, err := d.addENIs(ctx, n)
	if err != nil {
		return nil, metadataError(err)
	}
	if vpc == "" {
		return nil, &cloud.Error{Class: cloud.Internal, Message: "the metadata service lists no ENI with the primary's MAC " + n.PrimaryMAC}
	}
	d.name(ctx, n, vpc)
	return n, nil
}

// addENIs reads the ENIs, and returns the primary one's VPC. An ENI of which a part is absent is on its way out, and left
// out.
func (d *Driver) addENIs(ctx context.Context, n *cloud.Node) (vpc string, err error) {
	macs, err := d.metadata.list(ctx, "network/interfaces/macs")
	if err != nil {
		return "", err
	}
	for _, mac := range macs {
		p, err := d.metadata.eni(ctx, mac)
		switch {
		case errors.Is(err, errAbsent):
			continue
		case err != nil:
			return "", err
		}
		if p.eni.MAC == n.PrimaryMAC {
			p.eni.Primary, vpc = true, p.vpc
		}
		n.ENIs = append(n.ENIs, p.eni)
	}
	return vpc, nil
}

// name adds what only the API knows: IDs and device indexes, the VPC's ranges, and the instance type where the metadata
// service has none. It does what it can.
func (d *Driver) name(ctx context.Context, n *cloud.Node, vpc string) {
	limit := maxNaming
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end)/3)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	a, err := d.connect(ctx)
	if err != nil {
		return
	}
	listed, err := a.enis(ctx, ofInstance(n.InstanceID))
	if err != nil {
		return // what follows would fail as well
	}
	byMAC := map[string]cloud.ENI{}
	for _, e := range listed {
		byMAC[e.MAC] = e.ENI
	}
	for i, e := range n.ENIs {
		api := byMAC[e.MAC]
		n.ENIs[i].ID, n.ENIs[i].DeviceIndex, n.ENIs[i].PrimaryIP6, n.ENIs[i].IPv6 = api.ID, api.DeviceIndex, api.PrimaryIP6, api.IPv6
	}
	if ranges, err := a.ranges(ctx, vpc); err == nil {
		n.VPCCIDRs = ranges
	}
	if slices.ContainsFunc(n.VPCCIDRs, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		a.place6(ctx, n, vpc)
	}
	if n.InstanceType == "" {
		if i, err := a.instance(ctx, n.InstanceID); err == nil {
			n.InstanceType = value(i.InstanceType)
		}
	}
}

// ranges returns a VPC's ranges, its first one first.
func (a *api) ranges(ctx context.Context, vpc string) ([]netip.Prefix, error) {
	in := vpcsdk.NewDescribeVpcsRequest()
	in.VpcIds = []*string{&vpc}
	out, err := read(ctx, a, func(ctx context.Context) (*vpcsdk.DescribeVpcsResponse, error) {
		return a.vpc.DescribeVpcsWithContext(ctx, in)
	})
	if err != nil {
		return nil, err
	}
	var ranges []netip.Prefix
	for _, v := range out.Response.VpcSet {
		texts := []string{value(v.CidrBlock)}
		for _, more := range v.AssistantCidrSet {
			texts = append(texts, value(more.CidrBlock))
		}
		for _, text := range texts {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return nil, &cloud.Error{Class: cloud.Internal, Message: "range of " + vpc + ": " + err.Error()}
			}
			ranges = append(ranges, p)
		}
		if six := cidr6(v.Ipv6CidrBlock); six.IsValid() {
			ranges = append(ranges, six)
		}
	}
	return ranges, nil
}
