package main

import (
	"slices"

	"github.com/google/nftables"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/snat"
	"github.com/enichain/enichain/core/xtables"
)

// forwarding says whether the host's own filter drops what it forwards, as Docker's does, and whether eni-snat lets
// containers' packets pass there. families are those to look at.
func (c *checkup) forwarding(net *network, families []family.Family) {
	dropping, err := droppingChains(families)
	if err != nil {
		c.bad("the chains of nftables: %v", err)
	}
	for _, f := range families {
		name := xtables.Name(f) + "-legacy"
		drops, err := xtables.LegacyDrops(f, "filter")
		if err != nil {
			c.bad("the chains of %s: %v", name, err)
		}
		if drops {
			dropping = append(dropping, dropper{"chain FORWARD of " + name, true})
		}
	}
	if len(dropping) == 0 {
		c.good("no filter drops all that is forwarded")
	}
	for _, d := range dropping {
		if d.known && net.snat != nil && *net.snat.Forward {
			c.good("%s drops what is forwarded; eni-snat lets containers' packets pass", d.words)
			continue
		}
		c.bad(`%s drops what is forwarded: containers' packets pass only where a rule accepts them, by input and by output interface`, d.words)
	}
}

// dropper is a chain whose policy drops what is forwarded; known says that eni-snat knows it.
type dropper struct {
	words string
	known bool
}

// droppingChains returns the chains of nftables whose policy drops what of the families is forwarded; those of iptables-nft and
// ip6tables-nft are among them.
func droppingChains(families []family.Family) ([]dropper, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, err
	}
	chains, err := conn.ListChains()
	if err != nil {
		return nil, err
	}
	var found []dropper
	for _, chain := range chains {
		if chain.Hooknum == nil || *chain.Hooknum != *nftables.ChainHookForward || chain.Policy == nil || *chain.Policy != nftables.ChainPolicyDrop ||
			!slices.ContainsFunc(families, func(f family.Family) bool { return sees(chain.Table.Family, f) }) {
			continue
		}
		known := slices.ContainsFunc(families, func(f family.Family) bool {
			return slices.ContainsFunc(snat.FilterChains(f), func(k *nftables.Chain) bool {
				return k.Name == chain.Name && k.Table.Name == chain.Table.Name && k.Table.Family == chain.Table.Family
			})
		})
		found = append(found, dropper{snat.ChainWords(chain), known})
	}
	return found, nil
}

// sees says whether a table gets packets of the family.
func sees(table nftables.TableFamily, f family.Family) bool {
	return table == nftables.TableFamilyINet || table == xtables.TableFamily(f)
}
