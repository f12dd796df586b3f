package main

import (
	"context"
	"errors"

	"github.com/enichain/enichain/core/snat"
	"github.com/enichain/enichain/core/xtables"
)

// translation says whether eni-snat's backend can be used, and whether iptables' rules are spread over both variants: each
// program shows but its own, and the kernel goes through both.
func (c *checkup) translation(ctx context.Context, net *network) {
	if net.snat == nil {
		return
	}
	c.judge("eni-snat can use "+net.snat.Backend, snat.Ready(ctx, net.snat.Backend))
	legacy, err := xtables.Legacy.Used()
	nft, errNFT := xtables.NFT.Used()
	switch err := errors.Join(err, errNFT); {
	case err != nil:
		c.bad("iptables' rules: %v", err)
	case legacy && nft:
		c.bad("iptables-legacy and iptables-nft both have rules: iptables-legacy-save and iptables-nft-save show whose, " +
			"update-alternatives --display iptables which one is in use; where eni-snat's are in both, enictl repair removes the others")
	default:
		c.good("iptables' rules are of one variant")
	}
}
