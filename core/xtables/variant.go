package xtables

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"strings"
	"unsafe"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
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

// Holds says whether the variant's IPv4 table has the chain. It asks the kernel, without a program, and makes no table.
func (v Variant) Holds(table, chain string) (bool, error) {
	if v == NFT {
		return nftHolds(table, chain)
	}
	names, err := LegacyTables()
	if err != nil || !slices.Contains(names, table) {
		return false, err
	}
	_, entries, err := legacyEntries(table)
	if err != nil {
		return false, fmt.Errorf("read legacy table %s: %w", table, err)
	}
	return bytes.Contains(entries, append([]byte(chain), 0)), nil
}

func nftHolds(table, chain string) (bool, error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return false, fmt.Errorf("reach nftables: %w", err)
	}
	defer func() { _ = conn.CloseLasting() }()
	t := &nftables.Table{Name: table, Family: nftables.TableFamilyIPv4}
	if _, err := conn.ListTableOfFamily(table, t.Family); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return false, nil
		}
		return false, fmt.Errorf("read table ip %s: %w", table, err)
	}
	_, err = conn.ListChain(t, chain)
	return err == nil, nil // the library does not say which error it was; of a chain of a table that exists, absence
}

// Used says whether the variant has an IPv4 rule of anybody's. It asks the kernel, as Holds does.
func (v Variant) Used() (bool, error) {
	if v == NFT {
		return nftUsed()
	}
	names, err := LegacyTables()
	if err != nil {
		return false, err
	}
	for _, name := range names {
		info, err := legacyInfo(name)
		if err != nil {
			return false, fmt.Errorf("read legacy table %s: %w", name, err)
		}
		// A new table has one entry a hook, its policy, and one that ends it.
		if int(info.numEntries) > bits.OnesCount32(info.validHooks)+1 {
			return true, nil
		}
	}
	return false, nil
}

func nftUsed() (bool, error) {
	conn, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("reach nftables: %w", err)
	}
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return false, fmt.Errorf("read nftables: %w", err)
	}
	for _, c := range chains {
		if !slices.Contains([]string{"raw", "mangle", "nat", "filter", "security"}, c.Table.Name) {
			continue
		}
		rules, err := conn.GetRules(c.Table, c)
		if err != nil {
			return false, fmt.Errorf("read chain %s of table ip %s: %w", c.Name, c.Table.Name, err)
		}
		if len(rules) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// LegacyTables returns the IPv4 tables of the legacy variant that the namespace has. Any call of one of its programs,
// if only to list a table, makes that table.
func LegacyTables() ([]string, error) {
	names, err := os.ReadFile("/proc/thread-self/net/ip_tables_names")
	if errors.Is(err, os.ErrNotExist) { // the kernel has no such variant
		return nil, nil
	}
	return strings.Fields(string(names)), err
}

// The options of a raw socket that read a table (include/uapi/linux/netfilter_ipv4/ip_tables.h).
const (
	soGetInfo    = 64
	soGetEntries = 65
)

// tableInfo is struct ipt_getinfo.
type tableInfo struct {
	name       [32]byte
	validHooks uint32
	hookEntry  [5]uint32
	underflow  [5]uint32
	numEntries uint32
	size       uint32
}

// entriesHeader is the size of struct ipt_get_entries without its entries: a name, a size, and what aligns them.
const entriesHeader = 40

// legacyInfo returns how much a table holds.
func legacyInfo(table string) (tableInfo, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return tableInfo{}, err
	}
	defer func() { _ = unix.Close(fd) }()
	return infoBy(fd, table)
}

func infoBy(fd int, table string) (info tableInfo, err error) {
	copy(info.name[:], table)
	return info, getsockopt(fd, soGetInfo, unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)))
}

// legacyEntries returns a table's rules as the kernel has them. A chain is in there by its name, with a zero behind.
func legacyEntries(table string) (tableInfo, []byte, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return tableInfo{}, nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	for {
		info, err := infoBy(fd, table)
		if err != nil {
			return info, nil, err
		}
		entries := make([]byte, entriesHeader+info.size)
		copy(entries, table)
		*(*uint32)(unsafe.Pointer(&entries[len(info.name)])) = info.size
		if err = getsockopt(fd, soGetEntries, entries); err == nil {
			return info, entries[entriesHeader:], nil
		}
		if !errors.Is(err, unix.EAGAIN) { // the table changed its size in between
			return info, nil, err
		}
	}
}

// Where an entry says where its target is (struct ipt_entry, include/uapi/linux/netfilter_ipv4/ip_tables.h), and where that
// has its verdict (struct xt_standard_target, include/uapi/linux/netfilter/x_tables.h); NF_DROP is written as -1.
const (
	targetOffsetAt = 88
	verdictAt      = 32
	verdictDrop    = -1
)

// LegacyDrops says whether the legacy variant's table, where there is one, drops what its rules for forwarded packets decide
// nothing of. It asks the kernel, as Holds does.
func LegacyDrops(table string) (bool, error) {
	names, err := LegacyTables()
	if err != nil || !slices.Contains(names, table) {
		return false, err
	}
	info, entries, err := legacyEntries(table)
	if err != nil {
		return false, fmt.Errorf("read legacy table %s: %w", table, err)
	}
	if info.validHooks&(1<<unix.NF_INET_FORWARD) == 0 {
		return false, nil
	}
	policy := uint64(info.underflow[unix.NF_INET_FORWARD])
	if policy+targetOffsetAt+2 > uint64(len(entries)) {
		return false, fmt.Errorf("read legacy table %s: it ends before its policy", table)
	}
	verdict := policy + uint64(binary.NativeEndian.Uint16(entries[policy+targetOffsetAt:])) + verdictAt
	if verdict+4 > uint64(len(entries)) {
		return false, fmt.Errorf("read legacy table %s: its policy has no verdict", table)
	}
	return int32(binary.NativeEndian.Uint32(entries[verdict:])) == verdictDrop, nil
}

func getsockopt(fd, option int, value []byte) error {
	length := uint32(len(value))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, uintptr(option),
		uintptr(unsafe.Pointer(&value[0])), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
