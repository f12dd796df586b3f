package marking

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/layout"
)

// Table is the name of the tables, one of each family that has a container; eni-snat has others. The rule of each is
//
//	iifgroup 101 meta mark set ip saddr map @eni
//
// It sets all of the mark, which is 0: a packet loses its mark between namespaces (skb_scrub_packet, net/core/skbuff.c).
const Table = "enichain-eni"

const (
	mapName   = "eni"
	chainName = "pods" // "mark" is a word of nft's own
	// priority is before those who look at the mark, or set bits of their own: the first of the kernel's is at -300, raw.
	priority = -310
)

// patience bounds one exchange with the kernel, which answers at once.
const patience = 10 * time.Second

// tries bounds how often a change is tried that another process's change got in the way of.
const tries = 16

func tableOf(ipv6 bool) *nftables.Table {
	if ipv6 {
		return &nftables.Table{Name: Table, Family: nftables.TableFamilyIPv6}
	}
	return &nftables.Table{Name: Table, Family: nftables.TableFamilyIPv4}
}

func words(ipv6 bool) string {
	if ipv6 {
		return "table ip6 " + Table
	}
	return "table ip " + Table
}

func mapOf(ipv6 bool) *nftables.Set {
	key := nftables.TypeIPAddr
	if ipv6 {
		key = nftables.TypeIP6Addr
	}
	// The ID names the map within a transaction.
	return &nftables.Set{ID: 1, Name: mapName, Table: tableOf(ipv6), IsMap: true, KeyType: key, DataType: nftables.TypeMark}
}

// code is the rule, which asks for the group before all: packets of others pay for no more.
func code(ipv6 bool) []expr.Any {
	const reg = unix.NFT_REG_1
	source, length := uint32(12), uint32(4) // of the IPv4 header
	if ipv6 {
		source, length = 8, 16
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFGROUP, Register: reg},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: native(layout.GroupMarked)},
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: source, Len: length},
		&expr.Lookup{SourceRegister: reg, DestRegister: reg, IsDestRegSet: true, SetName: mapName, SetID: 1},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg, SourceRegister: true},
	}
}

func native(v uint32) []byte { return binaryutil.NativeEndian.PutUint32(v) }

// transact has the kernel take what is put into a connection, all of it or nothing. One connection is for one transaction:
// after a failed one the library may leave answers unread.
func transact(ctx context.Context, fill func(*nftables.Conn) error) error {
	conn, err := dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseLasting() }()
	if err := fill(conn); err != nil {
		return err
	}
	return conn.Flush()
}

func dial(ctx context.Context) (*nftables.Conn, error) {
	deadline := time.Now().Add(patience)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	return nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error { return c.SetDeadline(deadline) }))
}

// setElements has the maps say the numbers of the attachment's addresses, and makes the tables where they are missing, or in
// any case.
func setElements(ctx context.Context, c layout.Attachment, anew bool) error {
	for _, a := range c.Addresses {
		if err := setElement(ctx, a.IP, a.Number, anew); err != nil {
			return fmt.Errorf("put %s into %s: %w", a.IP, words(a.IP.Is6()), err)
		}
	}
	return nil
}

// setElement makes the address's element that of the number; 0 is none. Where it is so already, which it mostly is, for
// elements outlive containers, it costs one exchange. To delete one waits for a grace period of RCU.
func setElement(ctx context.Context, ip netip.Addr, number int, anew bool) error {
	ipv6 := ip.Is6()
	set, key := mapOf(ipv6), nftables.SetElement{Key: ip.AsSlice()}
	element := nftables.SetElement{Key: ip.AsSlice(), Val: native(uint32(number))}
	remove := func(conn *nftables.Conn) error { return conn.SetDeleteElements(set, []nftables.SetElement{key}) }
	add := func(conn *nftables.Conn) error { return conn.SetAddElements(set, []nftables.SetElement{element}) }
	if number == 0 {
		if err := transact(ctx, remove); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
		return nil
	}
	fill := add
	if anew {
		fill = func(conn *nftables.Conn) error { return errors.Join(writeTable(conn, ipv6), add(conn)) }
	}
	var err error
	for range tries {
		err = transact(ctx, fill)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.ENOENT): // no table yet
			fill = func(conn *nftables.Conn) error { return errors.Join(writeTable(conn, ipv6), add(conn)) }
		case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST): // the address was another ENI's
			fill = func(conn *nftables.Conn) error { return errors.Join(remove(conn), add(conn)) }
		case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR):
			return err
		}
	}
	return err
}

// writeTable makes the family's table as it is to be, and leaves the elements of its map.
func writeTable(conn *nftables.Conn, ipv6 bool) error {
	policy, hook, prio := nftables.ChainPolicyAccept, *nftables.ChainHookPrerouting, nftables.ChainPriority(priority)
	table := conn.AddTable(tableOf(ipv6))
	if err := conn.AddSet(mapOf(ipv6), nil); err != nil {
		return err
	}
	chain := conn.AddChain(&nftables.Chain{
		Name: chainName, Table: table, Type: nftables.ChainTypeFilter, Hooknum: &hook, Priority: &prio, Policy: &policy,
	})
	conn.FlushChain(chain)
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: code(ipv6)})
	return nil
}

// diffElements names the first difference between the tables and what the attachment needs.
func diffElements(ctx context.Context, c layout.Attachment) (string, error) {
	for _, a := range c.Addresses {
		if d, err := diffElement(ctx, a); d != "" || err != nil {
			return d, err
		}
	}
	return "", nil
}

func diffElement(ctx context.Context, a layout.Address) (string, error) {
	conn, err := dial(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.CloseLasting() }()
	ipv6 := a.IP.Is6()
	elements, err := readElements(conn, ipv6)
	if err != nil {
		return "", err
	}
	has := numberIn(elements, a.IP)
	for again := 0; again < tries && has != a.Number; again++ { // a map that changes meanwhile may be read with gaps
		if elements, err = readElements(conn, ipv6); err != nil {
			return "", err
		}
		has = numberIn(elements, a.IP)
	}
	if has != a.Number {
		return fmt.Sprintf("%s gives %s the number %d, not %d", words(ipv6), a.IP, has, a.Number), nil
	}
	if a.Number == 0 {
		return "", nil
	}
	rules, err := conn.GetRules(tableOf(ipv6), &nftables.Chain{Name: chainName})
	if err != nil {
		return "", fmt.Errorf("read the rule of %s: %w", words(ipv6), err)
	}
	if len(rules) != 1 || !sameCode(rules[0].Exprs, code(ipv6)) {
		return fmt.Sprintf("the rule of %s is not enichain's", words(ipv6)), nil
	}
	return "", nil
}

// numberIn returns what the elements say of an address; 0 where they say nothing.
func numberIn(elements []nftables.SetElement, ip netip.Addr) int {
	for _, e := range elements {
		if key, _ := netip.AddrFromSlice(e.Key); key == ip {
			return int(binaryutil.NativeEndian.Uint32(e.Val))
		}
	}
	return 0
}

// readElements returns what is in the family's map; none where there is no map.
func readElements(conn *nftables.Conn, ipv6 bool) ([]nftables.SetElement, error) {
	// Of a map's elements the library does not say whether it was absence (v0.3.0, GetSetElements).
	set, err := conn.GetSetByName(tableOf(ipv6), mapName)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	var elements []nftables.SetElement
	if err == nil {
		elements, err = conn.GetSetElements(set)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", words(ipv6), err)
	}
	return elements, nil
}

// sameCode compares a rule with one that was sent.
func sameCode(got, sent []expr.Any) bool {
	for _, e := range sent {
		if l, ok := e.(*expr.Lookup); ok {
			l.SetID = 0 // of that transaction
		}
	}
	return reflect.DeepEqual(got, sent)
}

// HasTables says whether there is one of the tables. A kernel without nftables has none.
func HasTables(ctx context.Context) (bool, error) {
	conn, err := dial(ctx)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.CloseLasting() }()
	tables, err := conn.ListTables()
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		return false, nil
	}
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == Table }), err
}

// Unused returns the addresses whose elements serve nobody, as far as the function knows.
func Unused(ctx context.Context, serves func(netip.Addr) (bool, error)) ([]netip.Addr, error) {
	var unused []netip.Addr
	for _, ipv6 := range []bool{false, true} {
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		elements, err := readElements(conn, ipv6)
		_ = conn.CloseLasting()
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			ip, _ := netip.AddrFromSlice(e.Key)
			has, err := serves(ip)
			if err != nil {
				return nil, err
			}
			if !has {
				unused = append(unused, ip)
			}
		}
	}
	return unused, nil
}

// RemoveElements removes the addresses' elements.
func RemoveElements(ctx context.Context, ips []netip.Addr) error {
	for _, ip := range ips {
		if err := setElement(ctx, ip, 0, false); err != nil {
			return fmt.Errorf("take %s out of %s: %w", ip, words(ip.Is6()), err)
		}
	}
	return nil
}

// RemoveTables removes the tables. It is for when no veth is in the group any more.
func RemoveTables(ctx context.Context) error {
	for _, ipv6 := range []bool{false, true} {
		err := transact(ctx, func(conn *nftables.Conn) error { conn.DelTable(tableOf(ipv6)); return nil })
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove %s: %w", words(ipv6), err)
		}
	}
	return nil
}
