// Package snat makes containers' traffic to beyond the VPC leave by the node's primary ENI, with its address, and makes
// connections that entered by the primary ENI for a container be answered by it. All of it is one nftables table, `ip
// enichain`, and one policy rule: static per node, nothing per container.
//
// A Policy is what one CNI network wants. Its Ruleset is data, in nft's own words by String, and Kernel compares it with
// the kernel and applies it. Each network has sets and chains of its own in the table, so that two networks never
// undo each other's work. The package never changes links, addresses or routes.
package snat

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
)

// Table is the name of the nftables table, of family ip.
const Table = "enichain"

// Policy is what one network wants, every fact known.
type Policy struct {
	// Network is the name of the CNI network.
	Network string
	// SNAT gives new connections of containers to beyond the VPC the primary ENI and its address. NodePort makes the
	// primary ENI answer for connections that entered by it.
	SNAT, NodePort bool
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

// names are those of a network's objects in the table.
type names struct {
	containers, include, keep string // sets
	mark, snat                string // chains
}

// namesOf returns the names of the network's objects. nft takes letters, digits, '_', '-' and '.' in a name, as CNI does
// in that of a network, but the name must begin with a letter: hence the object's part comes first.
func namesOf(network string) names {
	const readable = 64
	if len(network) > readable {
		sum := sha256.Sum256([]byte(network))
		network = network[:readable-9] + "-" + hex.EncodeToString(sum[:4])
	}
	return names{
		containers: "containers-" + network,
		include:    "include-" + network,
		keep:       "keep-" + network,
		mark:       "mark-" + network,
		snat:       "snat-" + network,
	}
}
