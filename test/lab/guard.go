package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// Registers of 32 bits, for keys of two parts.
const (
	reg0 = unix.NFT_REG32_00
	reg1 = unix.NFT_REG32_01
)

// guard is what a cloud's fabric does to packets beyond delivering them, as a table of nftables in the router:
//
//	table ip guard {
//		set assigned { type iface_index . ipv4_addr }                # port . source
//		set spoofers { type iface_index . ipv4_addr; flags dynamic; counter }
//		set public   { type ipv4_addr }                              # addresses with a public association
//		chain ports   { type filter hook prerouting priority raw
//			iif { lo, igw } accept
//			iif . ip saddr != @assigned add @spoofers { iif . ip saddr counter } counter name spoofed drop }
//		chain gateway { type filter hook forward priority filter
//			oif igw ip saddr != @public counter name no_public_address drop
//			iif igw ip daddr != @public drop }
//	}
//	table ip mangle {                                              # the name that the TTL target insists on
//		chain transparent { type filter hook prerouting priority mangle; TTL inc 1 } }   # a fabric is no hop
type guard struct {
	mu       sync.Mutex // conn collects messages until they are flushed
	conn     *nftables.Conn
	table    *nftables.Table
	assigned *nftables.Set
	offended *nftables.Set
	public   *nftables.Set

	// Of IPv6; nil in a lab without.
	table6    *nftables.Table
	offended6 *nftables.Set
}

// Names of the guard's counters.
const (
	counterSpoofed  = "spoofed"
	counterNoPublic = "no_public_address"
)

// newGuard sets the guard up in the router, where igw is the index of the link to the internet.
func newGuard(router *Host, igw int) (*guard, error) {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithNetNSFd(int(router.in.net.Fd())))
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	table := &nftables.Table{Name: "guard", Family: nftables.TableFamilyIPv4}
	portAndSource := nftables.MustConcatSetType(nftables.TypeIFIndex, nftables.TypeIPAddr)
	g := &guard{
		conn: conn, table: table,
		assigned: &nftables.Set{Table: table, Name: "assigned", KeyType: portAndSource, Concatenation: true},
		offended: &nftables.Set{
			Table: table, Name: "spoofers", KeyType: portAndSource, Concatenation: true, Dynamic: true, Size: 1 << 16, Counter: true,
		},
		public: &nftables.Set{Table: table, Name: "public", KeyType: nftables.TypeIPAddr},
	}
	if err := g.setUp(igw); err != nil {
		return nil, errors.Join(fmt.Errorf("set nftables up: %w", err), g.close())
	}
	return g, nil
}

func (g *guard) setUp(igw int) error {
	g.conn.AddTable(g.table)
	for i, s := range []*nftables.Set{g.assigned, g.offended, g.public} {
		// The number counts within the transaction only. The package's own come from a variable that labs which come up at
		// the same time would race for (google/nftables 0.3.0, set.go, allocSetID).
		s.ID = uint32(i + 1)
		if err := g.conn.AddSet(s, nil); err != nil {
			return err
		}
	}
	for _, name := range []string{counterSpoofed, counterNoPublic} {
		g.conn.AddObj(&nftables.NamedObj{Table: g.table, Name: name, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
	}
	g.addPorts(igw)
	g.addGateway(igw)
	g.addTransparency()
	return g.conn.Flush()
}

// addPorts drops sources that are not assigned to the ENI that they leave by.
func (g *guard) addPorts(igw int) {
	const lo = 1
	ports := g.chain(g.table, "ports", nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	for _, index := range []int{lo, igw} {
		g.rule(ports, meta(expr.MetaKeyIIF, reg0), equal(index), verdict(expr.VerdictAccept))
	}
	g.rule(
		ports,
		meta(expr.MetaKeyIIF, reg0), address(source, reg1), notIn(g.assigned),
		&expr.Dynset{
			SrcRegKey: reg0, SetID: g.offended.ID, SetName: g.offended.Name, Operation: unix.NFT_DYNSET_OP_ADD,
			Exprs: []expr.Any{&expr.Counter{}},
		},
		counter(counterSpoofed), verdict(expr.VerdictDrop),
	)
}

// addGateway lets only public addresses through to the internet and back.
func (g *guard) addGateway(igw int) {
	gateway := g.chain(g.table, "gateway", nftables.ChainHookForward, nftables.ChainPriorityFilter)
	g.rule(
		gateway,
		meta(expr.MetaKeyOIF, reg0), equal(igw), address(source, reg0), notIn(g.public),
		counter(counterNoPublic), verdict(expr.VerdictDrop),
	)
	g.rule(
		gateway,
		meta(expr.MetaKeyIIF, reg0), equal(igw), address(destination, reg0), notIn(g.public), verdict(expr.VerdictDrop),
	)
}

// addTransparency gives back the TTL that forwarding takes, so that hops are counted as in a VPC.
func (g *guard) addTransparency() {
	mangle := g.conn.AddTable(&nftables.Table{Name: "mangle", Family: nftables.TableFamilyIPv4})
	transparent := g.chain(mangle, "transparent", nftables.ChainHookPrerouting, nftables.ChainPriorityMangle)
	// struct ipt_TTL_info (include/uapi/linux/netfilter_ipv4/ipt_TTL.h): mode IPT_TTL_INC, by 1; padded to 8 bytes.
	const inc, by = 1, 1
	g.rule(transparent, &expr.Target{Name: "TTL", Info: &xt.Unknown{inc, by, 0, 0, 0, 0, 0, 0}})
}

func (g *guard) chain(t *nftables.Table, name string, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
	return g.conn.AddChain(&nftables.Chain{Table: t, Name: name, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: priority})
}

func (g *guard) rule(c *nftables.Chain, exprs ...expr.Any) {
	g.conn.AddRule(&nftables.Rule{Table: c.Table, Chain: c, Exprs: exprs})
}

// Offsets in the IPv4 header.
const (
	source      = 12
	destination = 16
)

func meta(key expr.MetaKey, reg uint32) expr.Any { return &expr.Meta{Key: key, Register: reg} }

func address(offset, reg uint32) expr.Any {
	return &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4, DestRegister: reg}
}

func equal(index int) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: reg0, Data: binaryutil.NativeEndian.PutUint32(uint32(index))}
}

func notIn(s *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: reg0, SetID: s.ID, SetName: s.Name, Invert: true}
}

func counter(name string) expr.Any {
	return &expr.Objref{Type: int(nftables.ObjTypeCounter), Name: name}
}

func verdict(kind expr.VerdictKind) expr.Any { return &expr.Verdict{Kind: kind} }

// portKey is an element of assigned and spoofers.
func portKey(port int, ip netip.Addr) []byte {
	return append(binaryutil.NativeEndian.PutUint32(uint32(port)), ip.AsSlice()...)
}

// allow accepts the address as a source from the port.
func (g *guard) allow(port int, ip netip.Addr) error {
	return g.add(g.assigned, portKey(port, ip))
}

// publish gives the address a public association.
func (g *guard) publish(ip netip.Addr) error { return g.add(g.public, ip.AsSlice()) }

func (g *guard) add(s *nftables.Set, key []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.conn.SetAddElements(s, []nftables.SetElement{{Key: key}}); err != nil {
		return err
	}
	return g.conn.Flush()
}

// forbid undoes allow for the addresses given, or for all of the port where none is given.
func (g *guard) forbid(port int, ips ...netip.Addr) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	elements := make([]nftables.SetElement, 0, len(ips))
	for _, ip := range ips {
		elements = append(elements, nftables.SetElement{Key: portKey(port, ip)})
	}
	if len(ips) == 0 {
		all, err := g.conn.GetSetElements(g.assigned)
		if err != nil {
			return fmt.Errorf("list the assigned sources: %w", err)
		}
		for _, e := range all {
			if len(e.Key) == 8 && int(binary.NativeEndian.Uint32(e.Key)) == port {
				elements = append(elements, nftables.SetElement{Key: e.Key})
			}
		}
	}
	if len(elements) == 0 {
		return nil
	}
	if err := g.conn.SetDeleteElements(g.assigned, elements); err != nil {
		return err
	}
	return g.conn.Flush()
}

// drops reads the counters.
func (g *guard) drops() (spoofed, noPublic uint64, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	counts := map[string]uint64{}
	for _, table := range []*nftables.Table{g.table, g.table6} {
		if table == nil {
			continue
		}
		objects, err := g.conn.GetNamedObjects(table)
		if err != nil {
			return 0, 0, fmt.Errorf("read the fabric's counters: %w", err)
		}
		for _, o := range objects {
			if named, ok := o.(*nftables.NamedObj); ok {
				if c, ok := named.Obj.(*expr.Counter); ok {
					counts[named.Name] += c.Packets
				}
			}
		}
	}
	return counts[counterSpoofed], counts[counterNoPublic], nil
}

// spoofers reads which sources were dropped, by the index of their port.
func (g *guard) spoofers() (map[int][]Spoofer, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	found := map[int][]Spoofer{}
	for _, set := range []*nftables.Set{g.offended, g.offended6} {
		if set == nil {
			continue
		}
		elements, err := g.conn.GetSetElements(set)
		if err != nil {
			return nil, fmt.Errorf("read the spoofed sources: %w", err)
		}
		for _, e := range elements {
			if len(e.Key) < 8 || e.Counter == nil {
				continue
			}
			port := int(binary.NativeEndian.Uint32(e.Key))
			if ip, ok := netip.AddrFromSlice(e.Key[4:]); ok {
				found[port] = append(found[port], Spoofer{Source: ip, Packets: e.Counter.Packets})
			}
		}
	}
	return found, nil
}

func (g *guard) close() error { return g.conn.CloseLasting() }
