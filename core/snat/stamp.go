package snat

import (
	"context"
	"fmt"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/stamp"
	"github.com/enichain/enichain/core/xtables"
)

// Ensure is Apply for a network whose policy is nearly always in place. Where nftables is still in the state in which Apply found it
// so, which a stamp in the folder says, none of its tables is read. What is not nftables' is looked at each time. Without the folder, or a kernel
// that tells its namespaces apart (Linux 5.14), it is Apply.
func Ensure(ctx context.Context, h *netstate.Handle, p Policy, dir string) (changed bool, err error) {
	if p.Backend == netconf.IPTables {
		return Apply(ctx, h, p)
	}
	now, err := stampOf(p)
	if err != nil {
		return false, err
	}
	file := p.stampIn(dir)
	known := now != "" && file.Read() == now
	if known {
		if known, err = p.aloneInNFTables(); err != nil {
			return false, err
		}
	}
	if known {
		return false, h.Apply(p.State())
	}
	changed, err = Apply(ctx, h, p)
	if err == nil && !changed && now != "" {
		file.Write(now)
	}
	return changed, err
}

// aloneInNFTables says whether Apply would have nothing to do but for nftables: neither chains of the legacy iptables to remove,
// nor rules to add to a filter of its that drops what it forwards.
func (p Policy) aloneInNFTables() (bool, error) {
	holds, err := xtables.Legacy.Holds(p.Family, "mangle", chainNamesOf(p.Network, p.Family).enter)
	if err != nil || holds || !p.Forward {
		return !holds, err
	}
	drops, err := xtables.LegacyDrops(p.Family, filter)
	return !drops, err
}

// stampIn is the file, in a folder, that has the policy's stamp.
func (p Policy) stampIn(dir string) stamp.File {
	return stamp.In(dir, fmt.Sprintf("snat-%s-%s", string(p.Family), layout.Shorten(p.Network, readable)))
}

// stampOf names the policy, and the state in which it is in place.
func stampOf(p Policy) (string, error) {
	type fields Policy // without its words
	return stamp.Of(fmt.Sprintf("%+v", fields(p)), stamp.Table{Family: uint8(tableOf(p.Family).Family), Name: Table})
}
