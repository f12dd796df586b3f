package aws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/enichain/enichain/cloud"
)

// macsPath is the folder of the instance's ENIs (EC2 User Guide, "Instance metadata categories").
const macsPath = "network/interfaces/macs/"

// maxMetadata bounds one answer of the metadata service, in bytes.
const maxMetadata = 1 << 20

// errAbsent says that the metadata service has no such key.
var errAbsent = errors.New("the metadata service answers 404")

// Node implements cloud.Driver. It needs no credentials.
func (d *Driver) Node(ctx context.Context) (*cloud.Node, error) {
	n := &cloud.Node{}
	for _, key := range []struct {
		path  string
		value *string
	}{
		{"instance-id", &n.InstanceID},
		{"instance-type", &n.InstanceType},
		{"placement/region", &n.Region},
		{"mac", &n.PrimaryMAC},
	} {
		text, err := d.read(ctx, key.path)
		if err != nil {
			return nil, d.metadataError(err)
		}
		*key.value = text
	}
	n.PrimaryMAC = strings.ToLower(n.PrimaryMAC)
	folders, err := d.read(ctx, macsPath)
	if err != nil {
		return nil, d.metadataError(err)
	}
	for _, folder := range strings.Fields(folders) {
		if err := d.addENI(ctx, n, strings.TrimSuffix(folder, "/")); err != nil {
			return nil, d.metadataError(err)
		}
	}
	if len(n.VPCCIDRs) == 0 {
		return nil, &cloud.Error{Class: cloud.Internal, Message: "the metadata service lists no ENI with device number 0 and MAC " + n.PrimaryMAC}
	}
	return n, nil
}

// addENI adds the ENI with the MAC, and with the primary one the VPC's ranges. An ENI of which a part is absent is on
// its way out, and left out.
func (d *Driver) addENI(ctx context.Context, n *cloud.Node, mac string) error {
	e, err := d.eni(ctx, mac)
	if err == nil && e.DeviceIndex == 0 && e.MAC == n.PrimaryMAC { // on the types with several network cards each has a device 0
		e.Primary = true
		e.own6()
		n.VPCCIDRs, err = readList(ctx, d, macsPath+mac+"/vpc-ipv4-cidr-blocks", netip.ParsePrefix)
	}
	if err == nil && e.Primary && e.Subnet6.IsValid() { // there is none where the VPC has no IPv6
		var six []netip.Prefix
		six, err = readList(ctx, d, macsPath+mac+"/vpc-ipv6-cidr-blocks", netip.ParsePrefix)
		n.VPCCIDRs = append(n.VPCCIDRs, six...)
	}
	switch {
	case errors.Is(err, errAbsent):
		return nil
	case err != nil:
		return err
	}
	n.ENIs = append(n.ENIs, e.ENI)
	return nil
}

func (d *Driver) eni(ctx context.Context, mac string) (listed, error) {
	e := listed{ENI: cloud.ENI{MAC: strings.ToLower(mac)}}
	folder := macsPath + mac + "/"
	var err error
	if e.ID, err = d.read(ctx, folder+"interface-id"); err != nil {
		return e, err
	}
	if e.SubnetID, err = d.read(ctx, folder+"subnet-id"); err != nil {
		return e, err
	}
	index, err := readList(ctx, d, folder+"device-number", strconv.Atoi)
	if err != nil {
		return e, err
	}
	subnets, err := readList(ctx, d, folder+"subnet-ipv4-cidr-block", netip.ParsePrefix)
	if err != nil {
		return e, err
	}
	addresses, err := readList(ctx, d, folder+"local-ipv4s", netip.ParseAddr)
	if err != nil {
		return e, err
	}
	if err := d.further(ctx, &e, folder); err != nil {
		return e, err
	}
	e.DeviceIndex, e.Subnet, e.Gateway = index[0], subnets[0].Masked(), gateway(subnets[0])
	e.PrimaryIP, e.Addresses = addresses[0], addresses[1:] // "local-ipv4s": the primary comes first
	return e, nil
}

// further reads what not every ENI has. Its keys are there only where there is something: the folder's list tells.
func (d *Driver) further(ctx context.Context, e *listed, folder string) error {
	keys, err := readList(ctx, d, folder, func(s string) (string, error) { return s, nil })
	if err != nil {
		return err
	}
	var prefixes6, subnets6 []netip.Prefix
	for key, list := range map[string]*[]netip.Prefix{"ipv4-prefix": &e.Prefixes, "ipv6-prefix": &prefixes6, "subnet-ipv6-cidr-blocks": &subnets6} {
		if err := readKey(ctx, d, keys, folder, key, netip.ParsePrefix, list); err != nil {
			return err
		}
	}
	e.Prefixes = append(e.Prefixes, prefixes6...)
	if len(subnets6) > 0 {
		e.Subnet6, e.Gateway6 = subnets6[0].Masked(), gateway6(subnets6[0])
	}
	return readKey(ctx, d, keys, folder, "ipv6s", netip.ParseAddr, &e.IPv6)
}

// readKey reads a key's lines where the folder has it. It may be gone since the folder was listed.
func readKey[T any](ctx context.Context, d *Driver, keys []string, folder, key string, parse func(string) (T, error), list *[]T) error {
	if !slices.Contains(keys, key) {
		return nil
	}
	found, err := readList(ctx, d, folder+key, parse)
	if errors.Is(err, errAbsent) {
		return nil
	}
	*list = found
	return err
}

// readList reads a key's lines; there is at least one.
func readList[T any](ctx context.Context, d *Driver, path string, parse func(string) (T, error)) ([]T, error) {
	text, err := d.read(ctx, path)
	if err != nil {
		return nil, err
	}
	var list []T
	for _, line := range strings.Fields(text) {
		v, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("metadata %s: %w", path, err)
		}
		list = append(list, v)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("metadata %s is empty: %w", path, errAbsent)
	}
	return list, nil
}

// read returns a key's text, or an error that is errAbsent where there is no such key.
func (d *Driver) read(ctx context.Context, path string) (string, error) {
	out, err := d.metadata.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
	if err != nil {
		var answered *smithyhttp.ResponseError
		if errors.As(err, &answered) && answered.HTTPStatusCode() == http.StatusNotFound {
			return "", fmt.Errorf("metadata %s: %w", path, errAbsent)
		}
		return "", fmt.Errorf("metadata %s: %w", path, err)
	}
	text, err := io.ReadAll(io.LimitReader(out.Content, maxMetadata))
	if err != nil {
		return "", fmt.Errorf("metadata %s: %w", path, err)
	}
	return strings.TrimSpace(string(text)), nil
}

// metadataError says what kind of failure of the metadata service this was, and what failed before the time was over. The
// SDK hides what made it fail to get a token, so whatever is no answer counts as none.
func (d *Driver) metadataError(err error) *cloud.Error {
	var answered *smithyhttp.ResponseError
	var number *strconv.NumError
	class := cloud.Unreachable
	if errors.As(err, &answered) || errors.As(err, &number) || errors.Is(err, errAbsent) {
		class = cloud.Internal
	}
	e := &cloud.Error{Class: class, Message: err.Error()}
	if before := d.refusals.last(); before != "" && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		e.Message += "; before that: " + before
	}
	return e
}
