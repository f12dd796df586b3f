package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/delegate"
	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/stamp"
	"github.com/enichain/enichain/core/xtables/legacytables"
)

// translate sees to it that eni-snat's rules are there, where the network wants that of eni-ptp ("snat"). They are the node's, and
// nearly always there: then eni-snat is not started.
func (c *call) translate(result *types100.Result, p placement) error {
	if c.conf.SNAT == nil {
		return nil
	}
	now, err := c.translation(p)
	if err != nil {
		return err
	}
	file := stamp.In(c.conf.IPAM.DataDir, "snat-by-ptp-"+layout.Shorten(c.conf.Name, 64))
	if now != "" && file.Read() == now {
		return c.host.Apply(layout.State{Rules: c.markRules(p)})
	}
	versioned, err := result.GetAsVersion(c.conf.CNIVersion)
	if err != nil {
		return err
	}
	printed, err := json.Marshal(versioned)
	if err != nil {
		return err
	}
	if err := c.runSNAT("ADD", printed); err != nil {
		return err
	}
	// Whatever eni-snat writes changes the state: where it is the same, all was there.
	if again, err := c.translation(p); err == nil && again != "" && again == now {
		file.Write(now)
	}
	return nil
}

// runSNAT runs a verb of eni-snat's, as if it were behind eni-ptp in the list; result is that of an ADD.
func (c *call) runSNAT(verb string, result json.RawMessage) error {
	if c.conf.SNAT == nil {
		return nil
	}
	config, err := netconf.SNATOf(c.args.StdinData, result)
	if err != nil {
		return cnierr.New(cnierr.Config, err, "")
	}
	err = delegate.Plugin{Type: netconf.EniSNAT, Path: c.args.Path, Config: config}.Run(c.ctx, verb)
	if errors.Is(err, delegate.ErrMissing) {
		return cnierr.New(cnierr.Config, err, `install eni-snat beside this plugin, or leave "snat" out`)
	}
	return cnierr.New(cnierr.IO, err, "")
}

// section is what of eni-snat's configuration decides what its rules depend on.
type section struct {
	DataDir  string `json:"dataDir"`
	Backend  string `json:"backend"`
	Primary  string `json:"primary"`
	SNAT     *bool  `json:"snat"`
	NodePort *bool  `json:"nodePort"`
}

// translation names all that eni-snat's rules for the container depend on, and the state of nftables; "" where that does not tell
// whether they are there: the backend is another, the primary interface is found in another way than by the store, or the legacy
// iptables, which has no such number, has tables.
func (c *call) translation(p placement) (string, error) {
	var said section
	if err := json.Unmarshal(c.conf.SNAT, &said); err != nil {
		return "", nil // which eni-snat will say
	}
	switch {
	case !c.conf.OwnIPAM() || p.primary.ID == "" || c.uplink.Name == "":
		return "", nil
	case said.DataDir != "" && said.DataDir != c.conf.IPAM.DataDir:
		return "", nil
	case said.Primary != "" || said.Backend != "" && said.Backend != netconf.NFTables:
		return "", nil
	}
	var tables []stamp.Table
	for _, f := range family.All() {
		legacy, err := legacytables.Of(f)
		if err != nil || len(legacy) > 0 {
			return "", err
		}
		if slices.Contains(p.families(), f) {
			tables = append(tables, stamp.Table{Family: protocolOf(f), Name: layout.TableSNAT})
		}
	}
	facts := fmt.Sprintf("%s %s %v %s %v %s %s %s %v", c.conf.Name, c.conf.VethPrefix, p.families(), c.conf.SNAT,
		p.node.VPCCIDRs, p.primary.ID, p.primary.MAC, p.primary.PrimaryIP, c.uplink)
	return stamp.Of(c.ctx, facts, tables...)
}

// protocolOf is what nftables calls a family.
func protocolOf(f family.Family) uint8 {
	if f == family.IPv6 {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}

// markRules are the policy rules that belong to eni-snat's marks, of each of the container's families.
func (c *call) markRules(p placement) []layout.Rule {
	var said section
	if err := json.Unmarshal(c.conf.SNAT, &said); err != nil {
		return nil
	}
	on := func(field *bool) bool { return field == nil || *field }
	var rules []layout.Rule
	for _, f := range p.families() {
		if on(said.NodePort) || on(said.SNAT) && f == family.IPv4 {
			rules = append(rules, layout.MarkRule(f))
		}
	}
	return rules
}
