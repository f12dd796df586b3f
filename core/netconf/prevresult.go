package netconf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
)

// ErrNoPrevResult says that the runtime gave no prevResult.
var ErrNoPrevResult = errors.New("prevResult is missing")

// PrevResult returns the result of the plugins before, or of the ADD that a CHECK is about, in today's form.
func PrevResult(conf *types.NetConf) (*types100.Result, error) {
	if err := version.ParsePrevResult(conf); err != nil {
		return nil, fmt.Errorf("read prevResult: %w", err)
	}
	if conf.PrevResult == nil {
		return nil, ErrNoPrevResult
	}
	result, err := types100.NewResultFromResult(conf.PrevResult)
	if err != nil {
		return nil, fmt.Errorf("read prevResult: %w", err)
	}
	return result, nil
}

// Addresses returns a result's addresses: those of a container's interface with the name, and those that name no interface;
// all where the name is empty.
func Addresses(result *types100.Result, ifName string) []netip.Addr {
	var ips []netip.Addr
	for _, ip := range result.IPs {
		if ip == nil || ifName != "" && !isOf(result, ip, ifName) {
			continue
		}
		if a, ok := netip.AddrFromSlice(ip.Address.IP); ok {
			ips = append(ips, a.Unmap())
		}
	}
	return ips
}

// isOf says whether an address belongs to a container's interface with the name; one that names no interface does.
func isOf(result *types100.Result, ip *types100.IPConfig, ifName string) bool {
	i := ip.Interface
	if i == nil {
		return true
	}
	if *i < 0 || *i >= len(result.Interfaces) {
		return false
	}
	l := result.Interfaces[*i]
	return l != nil && l.Name == ifName && l.Sandbox != ""
}

// Prefix is IPNet's inverse; the zero Prefix where the CNI's types hold none.
func Prefix(n net.IPNet) netip.Prefix {
	ip, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), ones)
}

// IPNet is a prefix as the CNI's types have it: an address with its network's mask.
func IPNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
