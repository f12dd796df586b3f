package demo

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// kubeTable is where kube-proxy (pkg/proxy/nftables) has its rules.
const kubeTable = "kube-proxy"

// masqueradeMark is the bit by which kube-proxy tells itself to masquerade (its --iptables-masquerade-bit).
const masqueradeMark = 0x4000

// service is a service with one endpoint. A masqueraded one has externalTrafficPolicy Cluster; an endpoint that calls
// itself is always masqueraded.
type service struct {
	at, to     netip.AddrPort
	masquerade bool
}

// addServices makes what kube-proxy makes of the services, in the calling thread's network namespace:
//
//	table ip kube-proxy {   # of IPv6, ip6
//		chain nat-prerouting { type nat hook prerouting priority dstnat
//			ip daddr AT tcp dport PORT ip saddr ENDPOINT meta mark set meta mark | 0x4000
//			ip daddr AT tcp dport PORT dnat to ENDPOINT:PORT }
//		chain nat-postrouting { type nat hook postrouting priority srcnat
//			meta mark & 0x4000 != 0 meta mark set meta mark & ~0x4000 masquerade fully-random } }
func (f stack) addServices(all []service) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := c.AddTable(&nftables.Table{Family: f.table, Name: kubeTable})
	pre := c.AddChain(&nftables.Chain{
		Name: "nat-prerouting", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest,
	})
	post := c.AddChain(&nftables.Chain{
		Name: "nat-postrouting", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	for _, s := range all {
		called := f.called(s.at)
		caller := ipIs(f.source, s.to.Addr())
		if s.masquerade {
			caller = nil // all of them
		}
		mark := setMark(^uint32(masqueradeMark), masqueradeMark)
		c.AddRule(&nftables.Rule{Table: table, Chain: pre, Exprs: slices.Concat(called, caller, mark)})
		c.AddRule(&nftables.Rule{Table: table, Chain: pre, Exprs: slices.Concat(called, f.dnat(s.to))})
	}
	marked := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		bitwise(masqueradeMark, 0),
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
	}
	masquerade := []expr.Any{&expr.Masq{FullyRandom: true}}
	c.AddRule(&nftables.Rule{Table: table, Chain: post, Exprs: slices.Concat(marked, setMark(^uint32(masqueradeMark), 0), masquerade)})
	return c.Flush()
}

// removeServices undoes addServices.
func (f stack) removeServices() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.DelTable(&nftables.Table{Family: f.table, Name: kubeTable})
	return c.Flush()
}

// called matches a packet to a service.
func (f stack) called(at netip.AddrPort) []expr.Any {
	return append(ipIs(f.destination, at.Addr()), []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(at.Port())},
	}...)
}

func (f stack) dnat(to netip.AddrPort) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: to.Addr().AsSlice()},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(to.Port())},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.table), RegAddrMin: 1, RegProtoMin: 2},
	}
}

func ipIs(offset uint32, ip netip.Addr) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(ip.BitLen() / 8)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: ip.AsSlice()},
	}
}

// setMark is meta mark set meta mark & mask ^ xor.
func setMark(mask, xor uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		bitwise(mask, xor),
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
	}
}

func bitwise(mask, xor uint32) expr.Any {
	return &expr.Bitwise{
		SourceRegister: 1, DestRegister: 1, Len: 4,
		Mask: binaryutil.NativeEndian.PutUint32(mask), Xor: binaryutil.NativeEndian.PutUint32(xor),
	}
}
