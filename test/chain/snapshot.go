package chain

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/lab"
)

// IPCommand runs ip(8) in a host and returns its lines, without what enichain's own protocol number adds to them.
func IPCommand(ctx context.Context, h *lab.Host, args ...string) ([]string, error) {
	out, err := h.Output(ctx, nil, "ip", args...)
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(strings.Replace(line, " proto 101", "", 1))
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines, nil
}

// Snapshot is all that enichain may leave in a node, in words: links, addresses, rules, routes of all tables, nftables
// objects, and the store's owners. Two are compared to find what a call left behind or took away. What the kernel gives
// each link of IPv6 by itself comes when the link has its carrier, and is no trace; nor is to whose ENI an address belongs,
// which is as true of one that no container has.
func Snapshot(ctx context.Context, n *lab.Node, dataDir string) ([]string, error) {
	var all []string
	for _, args := range [][]string{
		{"-o", "link"},
		{"-4", "-o", "addr"},
		{"rule"},
		{"-4", "route", "show", "table", "all"},
		{"-6", "-o", "addr", "show", "scope", "global"},
		{"-6", "rule"},
		{"-6", "route", "show", "table", "all"},
	} {
		lines, err := IPCommand(ctx, &n.Host, args...)
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			if !ofEachLink(line) {
				all = append(all, args[len(args)-1]+": "+line)
			}
		}
	}
	nft, err := n.Output(ctx, nil, "nft", "--stateless", "list", "ruleset") // counters are no trace
	if err != nil {
		return nil, err
	}
	all = append(all, "nft: "+numbers().ReplaceAllString(string(nft), "$1"))
	owners, err := Owners(ctx, n, dataDir)
	slices.Sort(all)
	return append(all, owners...), err
}

// ofEachLink says whether a route of IPv6 is one that the kernel gives every link.
func ofEachLink(line string) bool {
	for _, start := range []string{"fe80::/64 ", "local fe80:", "anycast fe80:", "multicast ff00::/8 "} {
		if strings.HasPrefix(line, start) {
			return true
		}
	}
	return false
}

// Owners lists which addresses the store in a node says are whose.
func Owners(ctx context.Context, n *lab.Node, dataDir string) ([]string, error) {
	var owners []string
	err := n.Do(func() error {
		err := store.At(dataDir).View(ctx, func(tx *store.Tx) error {
			all, err := tx.Addresses()
			for _, a := range all {
				if a.State == store.Assigned {
					owners = append(owners, fmt.Sprintf("%s is %s's", a.IP, a.Owner))
				}
			}
			return err
		})
		if errors.Is(err, store.ErrNoStore) {
			return nil
		}
		return err
	})
	return owners, err
}

// numbers are the elements of the maps by which eni-ptp has nftables mark packets, as nft prints them.
func numbers() *regexp.Regexp {
	return regexp.MustCompile(`(?s)(\tmap eni \{\n\t\ttype ip\w+ : mark\n)\t\telements = \{[^}]*\}\n`)
}
