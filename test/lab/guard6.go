package lab

import (
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// Offset and length of the source in the IPv6 header.
const (
	source6 = 8
	length6 = 16
)

// addIPv6 adds what the guard is for IPv6. The routes of the router say what is assigned to which port; there is no NAT, so
// that the internet knows the VPC:
//
//	table ip6 guard {
//		set spoofers { type iface_index . ipv6_addr; flags dynamic; counter }
//		chain ports { type filter hook prerouting priority raw
//			iif { lo, igw } accept
//			ip6 saddr { fe80::/16, :: } accept                     # neighbour discovery
//			fib saddr . iif oif missing add @spoofers { iif . ip6 saddr counter } counter name spoofed drop }
//	}
//	table ip6 mangle { chain transparent { type filter hook prerouting priority mangle; HL inc 1 } }
func (g *guard) addIPv6(igw int) error {
	g.table6 = g.conn.AddTable(&nftables.Table{Name: "guard", Family: nftables.TableFamilyIPv6})
	g.offended6 = &nftables.Set{
		Table: g.table6, Name: "spoofers", ID: 4, KeyType: nftables.MustConcatSetType(nftables.TypeIFIndex, nftables.TypeIP6Addr),
		Concatenation: true, Dynamic: true, Size: 1 << 16, Counter: true,
	}
	if err := g.conn.AddSet(g.offended6, nil); err != nil {
		return err
	}
	g.conn.AddObj(&nftables.NamedObj{Table: g.table6, Name: counterSpoofed, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
	const lo = 1
	ports := g.chain(g.table6, "ports", nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	for _, index := range []int{lo, igw} {
		g.rule(ports, meta(expr.MetaKeyIIF, reg0), equal(index), verdict(expr.VerdictAccept))
	}
	for _, start := range [][]byte{{0xfe, 0x80}, make([]byte, length6)} {
		g.rule(
			ports,
			&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: source6, Len: uint32(len(start)), DestRegister: reg0},
			&expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: start}, verdict(expr.VerdictAccept),
		)
	}
	g.rule(
		ports,
		&expr.Fib{Register: reg0, FlagSADDR: true, FlagIIF: true, ResultOIF: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: binaryutil.NativeEndian.PutUint32(0)},
		meta(expr.MetaKeyIIF, reg0),
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: source6, Len: length6, DestRegister: reg1},
		&expr.Dynset{
			SrcRegKey: reg0, SetID: g.offended6.ID, SetName: g.offended6.Name, Operation: unix.NFT_DYNSET_OP_ADD,
			Exprs: []expr.Any{&expr.Counter{}},
		},
		counter(counterSpoofed), verdict(expr.VerdictDrop),
	)
	mangle := g.conn.AddTable(&nftables.Table{Name: "mangle", Family: nftables.TableFamilyIPv6})
	transparent := g.chain(mangle, "transparent", nftables.ChainHookPrerouting, nftables.ChainPriorityMangle)
	// struct ip6t_HL_info (include/uapi/linux/netfilter_ipv6/ip6t_HL.h): mode IP6T_HL_INC, by 1; padded to 8 bytes.
	const inc, by = 1, 1
	g.rule(transparent, &expr.Target{Name: "HL", Info: &xt.Unknown{inc, by, 0, 0, 0, 0, 0, 0}})
	return g.conn.Flush()
}
