package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/nftables"

	"github.com/enichain/enichain/core/snat"
	"github.com/enichain/enichain/core/xtables"
)

// forwarding says whether the host's own filter drops what it forwards, as Docker's does, and whether eni-snat lets
// containers' packets pass there.
func (c *checkup) forwarding(ctx context.Context, net *network) {
	dropping, err := droppingChains()
	if err != nil {
		c.bad("the chains of nftables: %v", err)
	}
	legacy, err := legacyDrops(ctx)
	if err != nil {
		c.bad("the chains of iptables-legacy: %v", err)
	}
	dropping = append(dropping, legacy...)
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

// droppingChains returns the IPv4 chains of nftables whose policy drops what is forwarded; those of iptables-nft are among them.
func droppingChains() ([]dropper, error) {
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
		family := chain.Table.Family
		if chain.Hooknum == nil || *chain.Hooknum != *nftables.ChainHookForward || chain.Policy == nil || *chain.Policy != nftables.ChainPolicyDrop ||
			family != nftables.TableFamilyIPv4 && family != nftables.TableFamilyINet {
			continue
		}
		known := slices.ContainsFunc(snat.FilterChains(), func(k *nftables.Chain) bool {
			return k.Name == chain.Name && k.Table.Name == chain.Table.Name && k.Table.Family == family
		})
		found = append(found, dropper{fmt.Sprintf("chain %s of nftables' table %s", chain.Name, chain.Table.Name), known})
	}
	return found, nil
}

// legacyDrops looks at the filter table of iptables-legacy, if the kernel has one here.
func legacyDrops(ctx context.Context) ([]dropper, error) {
	tables, err := xtables.LegacyTables()
	if err != nil || !slices.Contains(tables, "filter") {
		return nil, err
	}
	p, err := xtables.FindVariant(ctx, xtables.Legacy)
	if err != nil {
		return nil, err
	}
	policy, _, err := p.Chain(ctx, "filter", "FORWARD")
	if err != nil || policy != "DROP" {
		return nil, err
	}
	return []dropper{{"chain FORWARD of iptables-legacy", true}}, nil
}
