package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"strings"

	"github.com/enichain/enichain/core/store"
)

// aliasMax is the longest alias that the kernel takes (IFALIASZ, include/uapi/linux/if.h, less the final 0).
const aliasMax = 255

// aliasMark begins the alias of each of our host veths.
const aliasMark = "enichain"

// TableSNAT is the name of eni-snat's tables of nftables, one of each family.
const TableSNAT = "enichain"

// Identity is what is derived from an attachment's key alone, so that each verb finds the same without being told.
type Identity struct {
	Veth string           // the host veth's name
	MAC  net.HardwareAddr // the host veth's
	Peer net.HardwareAddr // the container's end, where no other was asked for
}

// Identify returns the identity of a container's interface; prefix has at most 3 characters. MACs are given at creation
// because udev (MACAddressPolicy=persistent) rewrites those that were not.
func Identify(prefix, containerID, ifName string) Identity {
	sum := sha256.Sum256([]byte(containerID + "\x00" + ifName))
	return Identity{
		Veth: prefix + hex.EncodeToString(sum[:6]),
		MAC:  localMAC(sum[6:12]),
		Peer: localMAC(sum[12:18]),
	}
}

// localMAC makes a locally administered unicast address (IEEE 802, clause 8.4) of six bytes.
func localMAC(b []byte) net.HardwareAddr {
	mac := net.HardwareAddr(append([]byte(nil), b...))
	mac[0] = mac[0]&^0x01 | 0x02
	return mac
}

// Alias returns the alias of an owner's host veth, by which GC and people can tell whose it is. It is empty where the
// kernel would not take it.
func Alias(o store.Owner) string {
	alias := fmt.Sprintf("%s %s %s %s", aliasMark, o.Network, o.ContainerID, o.IfName)
	if len(alias) > aliasMax {
		return ""
	}
	return alias
}

// ParseAlias returns the owner in an alias, and false for one that is not ours. No part has spaces (CNI specification,
// "Parameters").
func ParseAlias(alias string) (store.Owner, bool) {
	f := strings.Fields(alias)
	if len(f) != 4 || f[0] != aliasMark {
		return store.Owner{}, false
	}
	return store.Owner{Network: f[1], ContainerID: f[2], IfName: f[3]}, true
}

// Shorten returns a name of at most n characters: of a longer one the beginning, and a hash.
func Shorten(name string, n int) string {
	if len(name) <= n {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:n-9] + "-" + hex.EncodeToString(sum[:4])
}
