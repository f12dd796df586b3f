// Package snat makes containers' traffic to beyond the VPC leave by the node's primary ENI, with its address, and makes
// connections that entered by the primary ENI for a container be answered by it. All of it is one nftables table a family,
// `enichain`, and one policy rule, or chains of iptables and some rules: static per node, nothing per container. Of IPv6
// nothing is translated, because its addresses are public: what is left are the answers.
//
// A Policy is what one CNI network wants in one family. Its Ruleset, or its Chains, are data, in nft's or iptables' own
// words by String; Apply and Check compare them with the kernel, and Apply writes them, and removes what the other backend
// has of the network. Each network has sets and chains of its own, so that two networks never undo each other's work. The
// package never changes links, addresses or routes.
package snat

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/xtables"
)

// Table is the name of the nftables table, of family ip, and of that of family ip6.
const Table = layout.TableSNAT

// tableOf returns the nftables table of a family.
func tableOf(f family.Family) *nftables.Table {
	return &nftables.Table{Name: Table, Family: xtables.TableFamily(f)}
}

// tableWords names a table as nft does.
func tableWords(t *nftables.Table) string {
	word := "ip"
	switch t.Family {
	case nftables.TableFamilyIPv6:
		word = "ip6"
	case nftables.TableFamilyINet:
		word = "inet"
	}
	return fmt.Sprintf("table %s %s", word, t.Name)
}

// Policy is what one network wants in one family, every fact known.
type Policy struct {
	// Network is the name of the CNI network.
	Network string
	// Family is IPv4 or IPv6. SNAT, and what it alone needs, is IPv4's.
	Family family.Family
	// Backend is netconf.NFTables, which the empty string is too, or netconf.IPTables.
	Backend string
	// SNAT gives new connections of containers to beyond the VPC the primary ENI and its address. NodePort makes the
	// primary ENI answer for connections that entered by it.
	SNAT, NodePort bool
	// Forward lets containers' packets pass where the host's filter drops what it forwards.
	Forward bool
	// Primary is the primary ENI's interface, and PrimaryIP the address that SNAT gives.
	Primary   string
	PrimaryIP netip.Addr
	// Include are the destinations that SNAT is for, all where it is empty; Keep are those that it is not for.
	Include, Keep []netip.Prefix
	// Containers are the interfaces by which containers' packets enter the host: names, or beginnings of names with a
	// '*' behind.
	Containers []string
	// Closed says that Containers is the whole list. Else those stay that the table has already: an earlier ADD under
	// another configuration, whose container still runs, put them there.
	Closed bool
}

// String names the policy for people.
func (p Policy) String() string {
	if p.Family == family.IPv6 {
		return "IPv6 of network " + p.Network
	}
	return "SNAT of network " + p.Network
}

// names are those of a network's objects in the table of a family.
type names struct {
	family                    family.Family
	containers, include, keep string // sets
	mark, snat                string // chains
}

// readable is how much of a network's name is in that of its objects; a hash stands for the rest.
const readable = 64

// namesOf returns the names of the network's objects. nft takes letters, digits, '_', '-' and '.' in a name, as CNI does
// in that of a network, but the name must begin with a letter: hence the object's part comes first.
func namesOf(network string, f family.Family) names {
	network = layout.Shorten(network, readable)
	return names{
		family:     f,
		containers: "containers-" + network,
		include:    "include-" + network,
		keep:       "keep-" + network,
		mark:       "mark-" + network,
		snat:       "snat-" + network,
	}
}

// table returns the words for the table.
func (n names) table() string { return tableWords(tableOf(n.family)) }

// off returns the policy with both switches off.
func (p Policy) off() Policy {
	p.SNAT, p.NodePort = false, false
	return p
}
