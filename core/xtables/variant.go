package xtables

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/xtables/legacytables"
)

// Variant is where iptables keeps its rules. A kernel may use both at once, one after the other at each hook.
type Variant string

// The variants.
const (
	// Legacy are the tables of x_tables.
	Legacy Variant = "legacy"
	// NFT are tables of nf_tables with the names of the old ones.
	NFT Variant = "nft"
)

// Holds says whether the variant's table of the family has the chain. It asks the kernel, without a program, and makes no
// table.
func (v Variant) Holds(f family.Family, table, chain string) (bool, error) {
	if v == NFT {
		return nftHolds(f, table, chain)
	}
	names, err := legacytables.Of(f)
	if err != nil || !slices.Contains(names, table) {
		return false, err
	}
	_, entries, err := legacyOf(f).entries(table)
	if err != nil {
		return false, fmt.Errorf("read table %s of %s-legacy: %w", table, Name(f), err)
	}
	return bytes.Contains(entries, append([]byte(chain), 0)), nil
}

// TableFamily is where nf_tables has a family's tables.
func TableFamily(f family.Family) nftables.TableFamily { return nftables.TableFamily(f.NFProto()) }

func nftHolds(f family.Family, table, chain string) (bool, error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return false, fmt.Errorf("reach nftables: %w", err)
	}
	defer func() { _ = conn.CloseLasting() }()
	t := &nftables.Table{Name: table, Family: TableFamily(f)}
	if _, err := conn.ListTableOfFamily(table, t.Family); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return false, nil
		}
		return false, fmt.Errorf("read %s's table %s: %w", Name(f), table, err)
	}
	_, err = conn.ListChain(t, chain)
	return err == nil, nil // the library does not say which error it was; of a chain of a table that exists, absence
}

// Used says whether the variant has a rule of the family, of anybody's. It asks the kernel, as Holds does.
func (v Variant) Used(f family.Family) (bool, error) {
	if v == NFT {
		return nftUsed(f)
	}
	names, err := legacytables.Of(f)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		info, err := legacyOf(f).info(name)
		if err != nil {
			return false, fmt.Errorf("read table %s of %s-legacy: %w", name, Name(f), err)
		}
		// A new table has one entry a hook, its policy, and one that ends it.
		if int(info.numEntries) > bits.OnesCount32(info.validHooks)+1 {
			return true, nil
		}
	}
	return false, nil
}

func nftUsed(f family.Family) (bool, error) {
	conn, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("reach nftables: %w", err)
	}
	chains, err := conn.ListChainsOfTableFamily(TableFamily(f))
	if err != nil {
		return false, fmt.Errorf("read nftables: %w", err)
	}
	for _, c := range chains {
		if !slices.Contains([]string{"raw", "mangle", "nat", "filter", "security"}, c.Table.Name) {
			continue
		}
		rules, err := conn.GetRules(c.Table, c)
		if err != nil {
			return false, fmt.Errorf("read chain %s of %s's table %s: %w", c.Name, Name(f), c.Table.Name, err)
		}
		if len(rules) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// legacy is where the kernel has the legacy variant's tables of a family.
type legacy struct {
	domain, level  int    // of the raw socket that reads them
	targetOffsetAt uint64 // where an entry says where its target is
}

// legacyOf returns it for IPv4, with struct ipt_entry (include/uapi/linux/netfilter_ipv4/ip_tables.h), or IPv6, with struct
// ip6t_entry (include/uapi/linux/netfilter_ipv6/ip6_tables.h); all else of the two is alike.
func legacyOf(f family.Family) legacy {
	if f == family.IPv6 {
		return legacy{domain: unix.AF_INET6, level: unix.IPPROTO_IPV6, targetOffsetAt: 140}
	}
	return legacy{domain: unix.AF_INET, level: unix.IPPROTO_IP, targetOffsetAt: 88}
}

// The options of a raw socket that read a table.
const (
	soGetInfo    = 64
	soGetEntries = 65
)

// tableInfo is struct ipt_getinfo, and struct ip6t_getinfo.
type tableInfo struct {
	name       [32]byte
	validHooks uint32
	hookEntry  [5]uint32
	underflow  [5]uint32
	numEntries uint32
	size       uint32
}

// entriesHeader is the size of struct ipt_get_entries, or ip6t_get_entries, without its entries: a name, a size, and what
// aligns them.
const entriesHeader = 40

// open returns the socket that reads the tables, of the calling thread's namespace.
func (l legacy) open() (fd int, err error) {
	return unix.Socket(l.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
}

// info returns how much a table holds.
func (l legacy) info(table string) (tableInfo, error) {
	fd, err := l.open()
	if err != nil {
		return tableInfo{}, err
	}
	defer func() { _ = unix.Close(fd) }()
	return l.infoBy(fd, table)
}

func (l legacy) infoBy(fd int, table string) (info tableInfo, err error) {
	copy(info.name[:], table)
	return info, l.getsockopt(fd, soGetInfo, unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)))
}

// entries returns a table's rules as the kernel has them. A chain is in there by its name, with a zero behind.
func (l legacy) entries(table string) (tableInfo, []byte, error) {
	fd, err := l.open()
	if err != nil {
		return tableInfo{}, nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	for {
		info, err := l.infoBy(fd, table)
		if err != nil {
			return info, nil, err
		}
		entries := make([]byte, entriesHeader+info.size)
		copy(entries, table)
		*(*uint32)(unsafe.Pointer(&entries[len(info.name)])) = info.size
		if err = l.getsockopt(fd, soGetEntries, entries); err == nil {
			return info, entries[entriesHeader:], nil
		}
		if !errors.Is(err, unix.EAGAIN) { // the table changed its size in between
			return info, nil, err
		}
	}
}

// Where an entry's target has its verdict (struct xt_standard_target, include/uapi/linux/netfilter/x_tables.h); NF_DROP is
// written as -1.
const (
	verdictAt   = 32
	verdictDrop = -1
)

// LegacyDrops says whether the legacy variant's table of the family, where there is one, drops what its rules for forwarded
// packets decide nothing of. It asks the kernel, as Holds does.
func LegacyDrops(f family.Family, table string) (bool, error) {
	names, err := legacytables.Of(f)
	if err != nil || !slices.Contains(names, table) {
		return false, err
	}
	l := legacyOf(f)
	info, entries, err := l.entries(table)
	if err != nil {
		return false, fmt.Errorf("read table %s of %s-legacy: %w", table, Name(f), err)
	}
	if info.validHooks&(1<<unix.NF_INET_FORWARD) == 0 {
		return false, nil
	}
	policy := uint64(info.underflow[unix.NF_INET_FORWARD])
	if policy+l.targetOffsetAt+2 > uint64(len(entries)) {
		return false, fmt.Errorf("read table %s of %s-legacy: it ends before its policy", table, Name(f))
	}
	verdict := policy + uint64(binary.NativeEndian.Uint16(entries[policy+l.targetOffsetAt:])) + verdictAt
	if verdict+4 > uint64(len(entries)) {
		return false, fmt.Errorf("read table %s of %s-legacy: its policy has no verdict", table, Name(f))
	}
	return int32(binary.NativeEndian.Uint32(entries[verdict:])) == verdictDrop, nil
}

func (l legacy) getsockopt(fd, option int, value []byte) error {
	length := uint32(len(value))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(l.level), uintptr(option),
		uintptr(unsafe.Pointer(&value[0])), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
