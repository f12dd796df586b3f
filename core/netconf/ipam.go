package netconf

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/enichain/enichain/core/family"
)

// The ways in which eni-ipam words an address.
const (
	Routed = "routed" // IP/32 and the gateway 169.254.1.1
	Subnet = "subnet" // the subnet's mask and gateway
)

// Defaults of the "ipam" section.
const (
	DefaultBatch    = 8
	DefaultCooldown = 30 * time.Second
	DefaultTimeout  = 60 * time.Second
)

// IPAMRequest is what eni-ipam reads from stdin: the whole network configuration, of which "ipam" is its own.
type IPAMRequest struct {
	types.NetConf
	IPAM          IPAM `json:"ipam"`
	RuntimeConfig struct {
		IPs []string `json:"ips,omitempty"`
	} `json:"runtimeConfig,omitempty"`
	Args struct {
		CNI struct {
			IPs []string `json:"ips,omitempty"`
		} `json:"cni"`
	} `json:"args"`
}

// ParseIPAM reads a network configuration for eni-ipam and fills in the defaults. It does not validate, so that a DEL works
// with what an ADD would refuse.
func ParseIPAM(stdin []byte) (*IPAMRequest, error) {
	r := &IPAMRequest{}
	if err := json.Unmarshal(stdin, r); err != nil {
		return nil, fmt.Errorf("read network configuration: %w", err)
	}
	r.IPAM.complete()
	return r, nil
}

// Validate says what an ADD cannot do with the configuration.
func (r *IPAMRequest) Validate() error {
	if err := r.IPAM.check(); err != nil {
		return fmt.Errorf("ipam: %w", err)
	}
	return nil
}

// RequestedIPs returns the addresses that the caller asks for, one a family at the most: by runtimeConfig.ips, else
// args.cni.ips, else CNI_ARGS' IP, with or without a prefix length (CONVENTIONS.md, "ips"). Asked for twice it is one: podman
// 4.3 does so when it reloads the network of a container with --ip.
func (r *IPAMRequest) RequestedIPs(cniArgs string) ([]netip.Addr, error) {
	ips := r.RuntimeConfig.IPs
	if len(ips) == 0 {
		ips = r.Args.CNI.IPs
	}
	if ip := Arg(cniArgs, "IP"); len(ips) == 0 && ip != "" {
		ips = []string{ip}
	}
	var requested []netip.Addr
	for _, s := range ips {
		ip, err := parseRequested(s)
		if err != nil {
			return nil, fmt.Errorf("requested address: %w", err)
		}
		f := family.Of(ip)
		switch {
		case slices.Contains(requested, ip):
		case !slices.Contains(r.IPAM.Families, f):
			return nil, fmt.Errorf(`%s was asked for, and the network gives no addresses of %s: "families" is %q`, ip, f, written(r.IPAM.Families))
		case slices.ContainsFunc(requested, func(other netip.Addr) bool { return family.Of(other) == f }):
			return nil, fmt.Errorf("%d addresses were asked for (%s), one of a family can be given", len(ips), strings.Join(ips, ", "))
		default:
			requested = append(requested, ip)
		}
	}
	return requested, nil
}

// parseRequested reads an address, with or without a prefix length.
func parseRequested(s string) (netip.Addr, error) {
	if !strings.Contains(s, "/") {
		ip, err := netip.ParseAddr(s)
		if err == nil && ip.Zone() != "" {
			err = fmt.Errorf("%s: a container's address has no zone", s)
		}
		return ip.Unmap(), err
	}
	p, err := netip.ParsePrefix(s)
	return p.Addr().Unmap(), err
}

// distinct says whether the families are known ones, each of them once.
func distinct(families []family.Family) bool {
	for i, f := range families {
		if !f.Known() || slices.Contains(families[:i], f) {
			return false
		}
	}
	return true
}

// written returns families as a configuration has them.
func written(families []family.Family) []string {
	var words []string
	for _, f := range families {
		words = append(words, string(f))
	}
	return words
}

// namesDriver says whether a cloud's name can be the end of a driver's.
func namesDriver(cloud string) bool {
	return cloud != "" && cloud[0] != '-' && strings.Trim(cloud, lowerCase+"0123456789-") == ""
}

// maxDuration bounds the durations: they are added to times since boot, and centuries would overflow.
const maxDuration = Duration(24 * time.Hour)

// complete fills in the defaults.
func (c *IPAM) complete() {
	if c.DataDir == "" {
		c.DataDir = DefaultDataDir
	}
	if len(c.Families) == 0 {
		c.Families = []family.Family{family.IPv4}
	}
	if c.Addressing == "" {
		c.Addressing = Routed
	}
	if c.Batch == 0 {
		c.Batch = DefaultBatch
	}
	if c.Cooldown == nil {
		c.Cooldown = new(Duration(DefaultCooldown))
	}
	if c.Timeout == 0 {
		c.Timeout = Duration(DefaultTimeout)
	}
	c.Pool.complete()
}

// check says what is wrong with the section, as far as that needs nothing else.
func (c *IPAM) check() error {
	switch {
	case !filepath.IsAbs(c.DataDir):
		return fmt.Errorf(`"dataDir" %q is not an absolute path`, c.DataDir)
	case c.Addressing != Routed && c.Addressing != Subnet:
		return fmt.Errorf(`"addressing" is %q: "routed" or "subnet" is wanted`, c.Addressing)
	case !distinct(c.Families):
		return fmt.Errorf(`"families" is %q: "ipv4", "ipv6" or both are wanted`, written(c.Families))
	case c.Batch < 1 || c.Batch > 256:
		return fmt.Errorf(`"batch" is %d: 1 to 256 is wanted`, c.Batch)
	case c.Timeout > maxDuration || *c.Cooldown > maxDuration:
		return fmt.Errorf(`"timeout" is %v and "cooldown" %v: a day at most is wanted`, time.Duration(c.Timeout), time.Duration(*c.Cooldown))
	case c.FirstDeviceIndex < 0:
		return fmt.Errorf(`"firstDeviceIndex" is %d: 0 (with the primary ENI) or more is wanted`, c.FirstDeviceIndex)
	case c.TableBase < 0 || c.TableBase > 1<<31-1000:
		return fmt.Errorf(`"tableBase" is %d: 1 or more is wanted`, c.TableBase)
	case c.Cloud == "":
		return errors.New(`"cloud" is missing: "aws", or "static" for a pool without a cloud`)
	case !namesDriver(c.Cloud):
		return fmt.Errorf(`"cloud" is %q: a name such as "aws" is wanted`, c.Cloud)
	case (c.Cloud == StaticCloud) != (c.Static != nil):
		return errors.New(`the section "static" goes with "cloud": "static", and only with it`)
	case c.Prefixes && (c.Cloud == StaticCloud || c.Cloud == "tencent"):
		return fmt.Errorf(`"prefixes" is true, and %s has none: leave it out`, c.Cloud)
	}
	if c.Static != nil {
		if err := c.Static.check(); err != nil {
			return err
		}
	}
	return c.Pool.check()
}
