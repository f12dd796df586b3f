package snat

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/layout"
)

// term is a part of a rule: what nft calls it, and what the kernel is told.
type term struct {
	words string
	code  []expr.Any
}

// reg is the one register that all terms use, one after the other.
const reg = unix.NFT_REG_1

// addrType is what the kernel's table `local` says of a destination (RTN_*, include/uapi/linux/rtnetlink.h).
type addrType uint32

const (
	addrLocal   addrType = unix.RTN_LOCAL
	addrUnicast addrType = unix.RTN_UNICAST
)

func (t addrType) String() string {
	if t == addrLocal {
		return "local"
	}
	return "unicast"
}

// The bits of `ct state` and `ct status` (enum ip_conntrack_status, include/uapi/linux/netfilter/nf_conntrack_common.h).
const (
	ctStateBitNew   = expr.CtStateBitNEW
	ctStatusBitDNAT = 1 << 5
)

func iifname(name string) term {
	return term{fmt.Sprintf("iifname %q", name), isName(expr.MetaKeyIIFNAME, name)}
}

func oifname(name string) term {
	return term{fmt.Sprintf("oifname %q", name), isName(expr.MetaKeyOIFNAME, name)}
}

func oifnameNot(name string) term {
	return term{fmt.Sprintf("oifname != %q", name), []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: nameKey(name)},
	}}
}

func isName(key expr.MetaKey, name string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: reg}, equal(nameKey(name))}
}

func iifnameIn(set string) term {
	return term{"iifname @" + set, inSet(expr.MetaKeyIIFNAME, set, true)}
}

func iifnameNotIn(set string) term {
	return term{"iifname != @" + set, inSet(expr.MetaKeyIIFNAME, set, false)}
}

func oifnameNotIn(set string) term {
	return term{"oifname != @" + set, inSet(expr.MetaKeyOIFNAME, set, false)}
}

func inSet(key expr.MetaKey, set string, in bool) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: reg}, &expr.Lookup{SourceRegister: reg, SetName: set, Invert: !in}}
}

// daddr asks whether the destination is in the set, or not.
func daddr(set string, in bool) term {
	const destination, length = 16, 4 // of the IPv4 header
	words := "ip daddr @" + set
	if !in {
		words = "ip daddr != @" + set
	}
	return term{words, []expr.Any{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: destination, Len: length},
		&expr.Lookup{SourceRegister: reg, SetName: set, Invert: !in},
	}}
}

func ctStateNew() term {
	return term{"ct state new", append([]expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: reg}}, anyOf(ctStateBitNew)...)}
}

func ctStatusDNAT() term {
	return term{"ct status dnat", append([]expr.Any{&expr.Ct{Key: expr.CtKeySTATUS, Register: reg}}, anyOf(ctStatusBitDNAT)...)}
}

func fibDaddrType(t addrType) term {
	return term{"fib daddr type " + t.String(), []expr.Any{
		&expr.Fib{Register: reg, FlagDADDR: true, ResultADDRTYPE: true},
		equal(native(uint32(t))),
	}}
}

func ctMarked() term {
	return term{fmt.Sprintf("ct mark & 0x%08x == 0x%08[1]x", layout.Mark), []expr.Any{
		&expr.Ct{Key: expr.CtKeyMARK, Register: reg}, onlyOurBit(), equal(native(layout.Mark)),
	}}
}

func metaMarked() term {
	return term{fmt.Sprintf("meta mark & 0x%08x == 0x%08[1]x", layout.Mark), []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg}, onlyOurBit(), equal(native(layout.Mark)),
	}}
}

// setCtMark sets our bit of the connection's mark and leaves the others as they are.
func setCtMark() term {
	return term{fmt.Sprintf("ct mark set ct mark | 0x%08x", layout.Mark), []expr.Any{
		&expr.Ct{Key: expr.CtKeyMARK, Register: reg}, withOurBit(),
		&expr.Ct{Key: expr.CtKeyMARK, Register: reg, SourceRegister: true},
	}}
}

// setMetaMark sets our bit of the packet's mark and leaves the others as they are.
func setMetaMark() term {
	return term{fmt.Sprintf("meta mark set meta mark | 0x%08x", layout.Mark), []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg}, withOurBit(),
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg, SourceRegister: true},
	}}
}

func accept() term {
	return term{"accept", []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}}
}

// snatTo gives the address, and a port chosen at random: of two connections that race for the same port number one
// loses its first packet otherwise (Kubernetes issue 56903).
func snatTo(ip netip.Addr) term {
	return term{"snat to " + ip.String() + " fully-random", []expr.Any{
		&expr.Immediate{Register: reg, Data: ip.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: reg, RegAddrMax: reg, FullyRandom: true},
	}}
}

// snatToItself keeps the source address of IPv6, and with it who would translate it later from doing so: the first decides.
func snatToItself() term {
	const source, length = 8, 16 // of the IPv6 header
	return term{"snat to ip6 saddr", []expr.Any{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: source, Len: length},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV6, RegAddrMin: reg, RegAddrMax: reg},
	}}
}

// words returns the rule as nft lists it.
func (r Rule) words() string {
	var all []string
	for _, t := range r.terms {
		all = append(all, t.words)
	}
	return strings.Join(all, " ")
}

// code returns the rule as the kernel is told it.
func (r Rule) code() []expr.Any {
	var all []expr.Any
	for _, t := range r.terms {
		all = append(all, t.code...)
	}
	return all
}

func native(v uint32) []byte { return binaryutil.NativeEndian.PutUint32(v) }

func equal(data []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data} }

// anyOf asks whether one of the bits is set.
func anyOf(bits uint32) []expr.Any {
	return []expr.Any{masked(bits, 0), &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: native(0)}}
}

func onlyOurBit() *expr.Bitwise { return masked(layout.Mark, 0) }

// withOurBit is `| Mark` in the form that every kernel knows: (value & ^Mark) ^ Mark.
func withOurBit() *expr.Bitwise { return masked(^uint32(layout.Mark), layout.Mark) }

func masked(mask, xor uint32) *expr.Bitwise {
	return &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: native(mask), Xor: native(xor)}
}
