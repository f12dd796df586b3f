package main

import (
	"context"
	"errors"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/snat"
	"github.com/enichain/enichain/core/xtables"
)

// translation says whether eni-snat's backend can be used, and whether rules of iptables, or of ip6tables where it is among
// the families to look at, are spread over both variants: each program shows but its own, and the kernel goes through both.
func (c *checkup) translation(ctx context.Context, net *network, families []family.Family) {
	if net.snat == nil {
		return
	}
	c.judge("eni-snat can use "+net.snat.Backend, snat.Ready(ctx, net.snat.Backend))
	for _, f := range families {
		name := xtables.Name(f)
		legacy, err := xtables.Legacy.Used(f)
		nft, errNFT := xtables.NFT.Used(f)
		switch err := errors.Join(err, errNFT); {
		case err != nil:
			c.bad("%s' rules: %v", name, err)
		case legacy && nft:
			c.bad("%[1]s-legacy and %[1]s-nft both have rules: %[1]s-legacy-save and %[1]s-nft-save show whose, "+
				"update-alternatives --display %[1]s which one is in use; where eni-snat's are in both, enictl repair removes the others", name)
		default:
			c.good("%s' rules are of one variant", name)
		}
	}
}
