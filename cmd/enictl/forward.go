package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/nftables"

	"github.com/enichain/enichain/core/xtables"
)

// forwarding says whether the host's own filter drops what it forwards, as Docker's does: containers' packets then pass
// only where a rule lets them, such as those of the plugin "firewall".
func (c *checkup) forwarding(ctx context.Context, list *conflist) {
	dropping, err := droppingChains()
	if err != nil {
		c.bad("the chains of nftables: %v", err)
	}
	legacy, err := legacyDrops(ctx)
	if err != nil {
		c.bad("the chains of iptables-legacy: %v", err)
	}
	dropping = append(dropping, legacy...)
	switch {
	case len(dropping) == 0:
		c.good("no filter drops all that is forwarded")
	case slices.ContainsFunc(list.Plugins, isFirewall):
		c.good(`%s drops what is forwarded; the plugin "firewall" lets containers' packets pass`, strings.Join(dropping, ", "))
	default:
		c.bad(`%s drops what is forwarded, containers' packets too: chain the plugin "firewall" behind eni-ptp, or set the policy to accept`,
			strings.Join(dropping, ", "))
	}
}

func isFirewall(plugin json.RawMessage) bool {
	var p types.NetConf
	return json.Unmarshal(plugin, &p) == nil && p.Type == "firewall"
}

// droppingChains names the IPv4 chains of nftables whose policy drops what is forwarded; those of iptables-nft are among them.
func droppingChains() ([]string, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, err
	}
	chains, err := conn.ListChains()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, chain := range chains {
		family := chain.Table.Family
		if chain.Hooknum == nil || *chain.Hooknum != *nftables.ChainHookForward || chain.Policy == nil || *chain.Policy != nftables.ChainPolicyDrop ||
			family != nftables.TableFamilyIPv4 && family != nftables.TableFamilyINet {
			continue
		}
		found = append(found, fmt.Sprintf("chain %s of nftables' table %s", chain.Name, chain.Table.Name))
	}
	return found, nil
}

// legacyDrops looks at the filter table of iptables-legacy, if the kernel has one here.
func legacyDrops(ctx context.Context) ([]string, error) {
	tables, err := xtables.LegacyTables()
	if err != nil || !slices.Contains(tables, "filter") {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, "iptables-legacy", "-w", "5", "-S", "FORWARD").Output()
	if err != nil {
		return nil, fmt.Errorf("iptables-legacy -S FORWARD: %w", err)
	}
	if strings.HasPrefix(string(out), "-P FORWARD DROP") {
		return []string{"chain FORWARD of iptables-legacy"}, nil
	}
	return nil, nil
}
