package netconf

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/enichain/enichain/core/primary"
)

// The backends of eni-snat.
const (
	NFTables = "nftables"
	IPTables = "iptables"
)

// EniSNAT is the type of eni-snat.
const EniSNAT = "eni-snat"

// maxIfName is the longest name of an interface (IFNAMSIZ, include/uapi/linux/if.h, less the final 0).
const maxIfName = 15

// ParseSNAT reads a network configuration for eni-snat, fills in the defaults and checks it.
func ParseSNAT(stdin []byte) (*SNAT, error) {
	c := &SNAT{}
	if err := json.Unmarshal(stdin, c); err != nil {
		return nil, fmt.Errorf("read network configuration: %w", err)
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	return c, nil
}

// SNATOf returns the configuration of eni-snat that stands in the "snat" of one of eni-ptp, as it would be behind eni-ptp in the list:
// with the network's name and version and, where it says nothing else, the store of eni-ptp's IPAM. Its prevResult is that of an ADD,
// result, or else eni-ptp's own. It is nil where eni-ptp has no "snat".
func SNATOf(ptp []byte, result json.RawMessage) (json.RawMessage, error) {
	var whole map[string]json.RawMessage
	var known PTP
	if err := errors.Join(json.Unmarshal(ptp, &whole), json.Unmarshal(ptp, &known)); err != nil {
		return nil, fmt.Errorf("read network configuration: %w", err)
	}
	if known.SNAT == nil {
		return nil, nil
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(known.SNAT, &fields); err != nil {
		return nil, fmt.Errorf(`read "snat": %w`, err)
	}
	if fields == nil {
		return nil, errors.New(`"snat" is null`)
	}
	if _, ok := fields["dataDir"]; !ok && known.OwnIPAM() && known.IPAM.DataDir != "" {
		fields["dataDir"], _ = json.Marshal(known.IPAM.DataDir) // a string
	}
	for _, name := range []string{"cniVersion", "name", "runtimeConfig", "prevResult"} {
		if value, ok := whole[name]; ok {
			fields[name] = value
		}
	}
	fields["type"] = json.RawMessage(`"` + EniSNAT + `"`)
	if result != nil {
		fields["prevResult"] = result
	}
	return json.Marshal(fields)
}

// SNATIn returns eni-snat's configuration that a plugin of a list has: eni-snat's own, or that within an eni-ptp; nil where it has none.
func SNATIn(kind string, plugin json.RawMessage) (*SNAT, error) {
	switch kind {
	case EniSNAT:
		return ParseSNAT(plugin)
	case "eni-ptp":
		within, err := SNATOf(plugin, nil)
		if err != nil || within == nil {
			return nil, err
		}
		c, err := ParseSNAT(within)
		if err != nil {
			return nil, fmt.Errorf("snat: %w", err)
		}
		return c, nil
	}
	return nil, nil
}

// complete fills in the defaults and checks what needs nothing but the configuration.
func (c *SNAT) complete() error {
	if c.DataDir == "" {
		c.DataDir = DefaultDataDir
	}
	if c.Backend == "" {
		c.Backend = NFTables
	}
	if c.SNAT == nil {
		c.SNAT = new(true)
	}
	if c.NodePort == nil {
		c.NodePort = new(true)
	}
	if c.Forward == nil {
		c.Forward = new(true)
	}
	switch {
	case c.Backend != NFTables && c.Backend != IPTables:
		return fmt.Errorf(`"backend" is %q: "nftables" or "iptables" is wanted`, c.Backend)
	case !filepath.IsAbs(c.DataDir):
		return fmt.Errorf(`"dataDir" %q is not an absolute path`, c.DataDir)
	case c.PrimaryIP.IsValid() && !usableIPv4(c.PrimaryIP):
		return fmt.Errorf(`"primaryIP" is %s: an IPv4 address of the primary interface is wanted`, c.PrimaryIP)
	}
	return errors.Join(
		checkCIDRs("vpcCIDRs", c.VPCCIDRs),
		checkCIDRs("excludeCIDRs", c.ExcludeCIDRs),
		checkCIDRs("includeCIDRs", c.IncludeCIDRs),
		c.checkInterfaces(),
	)
}

// checkInterfaces says what is wrong with the names of interfaces, if anything.
func (c *SNAT) checkInterfaces() error {
	_, method, err := primary.Parse(c.Primary)
	if err != nil {
		return fmt.Errorf(`"primary" is %w`, err)
	}
	if !method && c.Primary != "" && !ifName(c.Primary) {
		return fmt.Errorf(`"primary" is %q: the name of an interface is wanted, or how to find it: docs/eni-snat.md, "The primary interface"`, c.Primary)
	}
	names := slices.Clone(c.ContainerInterfaces)
	if !method {
		names = append(names, c.Primary)
	}
	for _, name := range names {
		if c.Backend == IPTables && strings.HasSuffix(strings.TrimSuffix(name, "*"), "+") {
			return fmt.Errorf(`"backend" is "iptables", which takes the '+' at the end of %q for any rest: use "nftables"`, name)
		}
	}
	for _, pattern := range c.ContainerInterfaces {
		fixed, wild := strings.CutSuffix(pattern, "*")
		if !ifName(fixed) || wild && len(pattern) > maxIfName {
			return fmt.Errorf(`"containerInterfaces" has %q: a name is wanted, or the beginning of one with a '*' behind`, pattern)
		}
	}
	if method || c.Primary == "" {
		return nil
	}
	return c.CheckContainers(c.Primary)
}

// CheckContainers says whether the primary interface is listed among the containers'.
func (c *SNAT) CheckContainers(primary string) error {
	for _, pattern := range c.ContainerInterfaces {
		fixed, wild := strings.CutSuffix(pattern, "*")
		if pattern == primary || wild && strings.HasPrefix(primary, fixed) {
			return fmt.Errorf(`"containerInterfaces" has %q, which is the primary interface %s too`, pattern, primary)
		}
	}
	return nil
}

// ifName says whether an interface may have the name (dev_valid_name, net/core/dev.c), and a pattern may begin so.
func ifName(s string) bool {
	if s == "" || s == "." || s == ".." || len(s) > maxIfName {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`/:*"\`, r) })
}

// usableIPv4 says whether a host may have the address.
func usableIPv4(ip netip.Addr) bool { return ip.Is4() && !ip.IsUnspecified() && !ip.IsMulticast() }

// checkCIDRs says what is wrong with a list of destinations.
func checkCIDRs(field string, list []netip.Prefix) error {
	for _, p := range list {
		switch {
		case !p.IsValid():
			return fmt.Errorf(`%q has an empty entry`, field)
		case !p.Addr().Is4():
			return fmt.Errorf(`%q has %s: only IPv4 is translated`, field, p)
		case p != p.Masked():
			return fmt.Errorf(`%q has %s, which has bits beyond its length: is %s meant?`, field, p, p.Masked())
		}
	}
	return nil
}
