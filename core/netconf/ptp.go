package netconf

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Routing is a layout of the policy rules.
type Routing string

// The layouts: with rules of each container's own; and with one rule for each ENI, for packets that carry its number as a mark.
const (
	PerPod Routing = "per-pod"
	PerENI Routing = "per-eni"
)

// Marking is a way to put an ENI's number on the packets of its containers.
type Marking string

// The ways beside NFTables, which is a map of addresses: a BPF program on each host veth (Linux 6.6), or the choice of package marking.
const (
	Auto Marking = "auto"
	TCX  Marking = "tcx"
)

// EniIPAM is the type of our own IPAM plugin, by which eni-ptp knows that the store has the addresses.
const EniIPAM = "eni-ipam"

// The bounds of a container's MTU: the least that every IPv4 host takes (RFC 791), and the most that a veth does.
const (
	minMTU = 576
	maxMTU = 65535
)

const lowerCase = "abcdefghijklmnopqrstuvwxyz"

// beginsVeth says whether a prefix leaves room for 12 hexadecimal digits in the kernel's 15 characters.
func beginsVeth(prefix string) bool {
	return prefix != "" && len(prefix) <= 3 && strings.Trim(prefix, lowerCase) == ""
}

// ParsePTP reads eni-ptp's configuration and fills in the defaults. It does not validate, so that a DEL works with what
// an ADD would refuse.
func ParsePTP(stdin []byte) (*PTP, error) {
	p := &PTP{}
	if err := json.Unmarshal(stdin, p); err != nil {
		return nil, fmt.Errorf("read network configuration: %w", err)
	}
	if p.VethPrefix == "" {
		p.VethPrefix = "pod"
	}
	if p.Routing == "" {
		p.Routing = PerPod
	}
	if p.Marking == "" {
		p.Marking = Auto
	}
	if p.IPAM.DataDir == "" {
		p.IPAM.DataDir = DefaultDataDir
	}
	if p.IPAM.Timeout == 0 {
		p.IPAM.Timeout = Duration(DefaultTimeout)
	}
	return p, nil
}

// Validate says what an ADD cannot do with the configuration.
func (p *PTP) Validate() error {
	switch {
	case p.IPAM.Type == "":
		return errors.New(`"ipam" has no "type": eni-ptp gets its addresses from an IPAM plugin, such as eni-ipam`)
	case p.MTU != 0 && (p.MTU < minMTU || p.MTU > maxMTU):
		return fmt.Errorf(`"mtu" is %d: it must be from %d to %d, or 0 for that of the ENI`, p.MTU, minMTU, maxMTU)
	case !beginsVeth(p.VethPrefix):
		return fmt.Errorf(`"vethPrefix" is %q: it must be one to three letters from a to z, because 12 digits follow`, p.VethPrefix)
	case p.Routing != PerPod && p.Routing != PerENI:
		return fmt.Errorf(`"routing" is %q: it must be %q or %q`, p.Routing, PerPod, PerENI)
	case p.Marking != Auto && p.Marking != TCX && p.Marking != NFTables:
		return fmt.Errorf(`"marking" is %q: it must be %q, %q or %q`, p.Marking, Auto, TCX, NFTables)
	case p.SNAT != nil && p.SNAT[0] != '{':
		return fmt.Errorf(`"snat" is %s: an object is wanted, with what docs/eni-snat.md lists; {} has the defaults`, p.SNAT)
	}
	_, err := p.Destinations()
	return err
}

// Destinations returns what is reached by the container's interface whatever has its default route.
func (p *PTP) Destinations() ([]netip.Prefix, error) {
	var to []netip.Prefix
	for _, r := range p.Routes {
		dst, err := netip.ParsePrefix(r.Dst)
		if err != nil || dst != dst.Masked() {
			return nil, fmt.Errorf(`"routes" has "dst" %q: it must be a network, such as 10.0.0.0/8`, r.Dst)
		}
		if dst.Bits() == 0 {
			return nil, fmt.Errorf(`"routes" has "dst" %q: the default route is "defaultRoute"'s`, r.Dst)
		}
		to = append(to, dst)
	}
	return to, nil
}

// OwnIPAM says whether the addresses are eni-ipam's.
func (p *PTP) OwnIPAM() bool { return p.IPAM.Type == EniIPAM }

// RequestedMAC returns the MAC that the caller wants for the container's interface: by runtimeConfig.mac, else
// args.cni.mac, else CNI_ARGS' MAC (CONVENTIONS.md, "mac"); nil where it wants none.
func (p *PTP) RequestedMAC(cniArgs string) (net.HardwareAddr, error) {
	want := p.RuntimeConfig.MAC
	if want == "" {
		want = p.Args.CNI.MAC
	}
	if want == "" {
		want = Arg(cniArgs, "MAC")
	}
	if want == "" {
		return nil, nil
	}
	mac, err := net.ParseMAC(strings.TrimSpace(want))
	if err != nil {
		return nil, fmt.Errorf("requested MAC: %w", err)
	}
	if len(mac) != 6 || mac[0]&1 != 0 {
		return nil, fmt.Errorf("requested MAC %s is not an Ethernet unicast address", want)
	}
	return mac, nil
}
