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
