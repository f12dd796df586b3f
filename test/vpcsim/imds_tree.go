package vpcsim

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// lookUp answers a path: a value, or a folder's children one a line, those that are folders with a '/'.
func lookUp(tree map[string]string, path string) (string, bool) {
	if value, ok := tree[path]; ok {
		return value, true
	}
	prefix := path + "/"
	if path == "" {
		prefix = ""
	}
	children := map[string]bool{}
	for key := range tree {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			name, _, folder := strings.Cut(rest, "/")
			if folder {
				name += "/"
			}
			children[name] = true
		}
	}
	var lines []string
	for name := range children {
		lines = append(lines, name)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), len(lines) > 0
}

// metadata is everything that an instance's metadata service knows, by path.
func (v *VPC) metadata(instanceID string) (map[string]string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	i, err := v.instanceByID(instanceID)
	if err != nil {
		return nil, err
	}
	tree := map[string]string{}
	set := func(path, value string) { tree["latest/meta-data/"+path] = value }
	set("instance-id", i.ID)
	set("instance-type", i.Type)
	set("placement/region", v.region)
	set("placement/availability-zone", v.zone)
	set("services/domain", "amazonaws.com")
	set("services/partition", "aws")
	for _, e := range v.seen(instanceID) {
		if e.DeviceIndex == 0 {
			set("mac", e.MAC.String())
			set("local-ipv4", e.PrimaryIP.String())
			set("local-hostname", hostname(e.PrimaryIP))
		}
		v.describeMAC(e, set)
	}
	if v.roleName != "" {
		set("iam/security-credentials/"+v.roleName, v.roleCredentials())
	}
	tree["latest/dynamic/instance-identity/document"] = v.document(i, tree["latest/meta-data/local-ipv4"])
	return tree, nil
}

func (v *VPC) describeMAC(e ENI, set func(path, value string)) {
	var cidrs, addresses []string
	for _, p := range v.cidrs {
		cidrs = append(cidrs, p.String())
	}
	for _, ip := range append([]netip.Addr{e.PrimaryIP}, e.Secondary...) {
		addresses = append(addresses, ip.String())
	}
	var prefixes []string
	for _, p := range e.Prefixes {
		prefixes = append(prefixes, p.String())
	}
	if len(prefixes) > 0 {
		set("network/interfaces/macs/"+e.MAC.String()+"/ipv4-prefix", strings.Join(prefixes, "\n"))
	}
	v.describeMAC6(e, set)
	for key, value := range map[string]string{
		"device-number":          strconv.Itoa(e.DeviceIndex),
		"interface-id":           e.ID,
		"mac":                    e.MAC.String(),
		"local-hostname":         hostname(e.PrimaryIP),
		"local-ipv4s":            strings.Join(addresses, "\n"),
		"owner-id":               ownerID,
		"security-group-ids":     strings.Join(e.SecurityGroups, "\n"),
		"security-groups":        strings.Join(groupNames(e.SecurityGroups), "\n"),
		"subnet-id":              e.SubnetID,
		"subnet-ipv4-cidr-block": e.Subnet.String(),
		"vpc-id":                 v.vpcID,
		"vpc-ipv4-cidr-block":    cidrs[0],
		"vpc-ipv4-cidr-blocks":   strings.Join(cidrs, "\n"),
	} {
		set("network/interfaces/macs/"+e.MAC.String()+"/"+key, value)
	}
}

// describeMAC6 tells an ENI's IPv6. What there is none of has no key.
func (v *VPC) describeMAC6(e ENI, set func(path, value string)) {
	held := e.held6()
	for key, value := range map[string]string{
		"ipv6s": lines(held.addresses), "ipv6-prefix": lines(held.prefixes),
		"subnet-ipv6-cidr-blocks": lines(known(e.Subnet6)), "vpc-ipv6-cidr-blocks": lines(known(v.ipv6)),
	} {
		if value != "" {
			set("network/interfaces/macs/"+e.MAC.String()+"/"+key, value)
		}
	}
}

// known is the prefix as a list, which is empty where it is zero.
func known(p netip.Prefix) []netip.Prefix {
	if !p.IsValid() {
		return nil
	}
	return []netip.Prefix{p}
}

func lines[T fmt.Stringer](values []T) string {
	var all []string
	for _, v := range values {
		all = append(all, v.String())
	}
	return strings.Join(all, "\n")
}

func hostname(ip netip.Addr) string {
	return "ip-" + strings.ReplaceAll(ip.String(), ".", "-") + ".ec2.internal"
}

func (v *VPC) roleCredentials() string {
	now := time.Now().UTC()
	return jsonText(map[string]string{
		"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": now.Format(time.RFC3339),
		"AccessKeyId": v.role.AccessKeyID, "SecretAccessKey": v.role.SecretAccessKey, "Token": v.role.Token,
		"Expiration": v.roleUntil().Format(time.RFC3339),
	})
}

func (v *VPC) document(i *instance, ip string) string {
	return jsonText(map[string]string{
		"accountId": ownerID, "architecture": "x86_64", "availabilityZone": v.zone, "imageId": "ami-0123456789abcdef0",
		"instanceId": i.ID, "instanceType": i.Type, "pendingTime": v.started.UTC().Format(time.RFC3339),
		"privateIp": ip, "region": v.region, "version": "2017-09-30",
	})
}

func jsonText[T any](fields map[string]T) string {
	text, err := json.MarshalIndent(fields, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("vpcsim: %v", err)) // strings and numbers always marshal
	}
	return string(text)
}
