package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	types100 "github.com/containernetworking/cni/pkg/types/100"

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
	var said section
	if err := json.Unmarshal(c.conf.SNAT, &said); err != nil {
		return c.runSNAT("ADD", nil) // which says what is wrong
	}
	now := c.translation(said, p)
	file := stamp.In(c.conf.IPAM.DataDir, "snat-by-ptp-"+layout.Shorten(c.conf.Name, 64))
	if now != "" && file.Read() == now {
		return c.host.Apply(layout.State{Rules: said.markRules(p.families())})
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
		return cnierr.New(cnierr.IO, fmt.Errorf("set up eni-snat's rules: %w", err), "")
	}
	if now != "" && c.translationAnew(said, p) == now { // whatever eni-snat writes changes it: all was there
		file.Write(now)
	}
	return nil
}

// translationAnew is translation of what the store and the host have now, as eni-snat, which looks for itself, may have found it.
func (c *call) translationAnew(said section, p placement) string {
	p, err := c.locateInStore(p.ips())
	if err != nil {
		return ""
	}
	link, err := c.host.ENILink(p.primary)
	if err != nil {
		return ""
	}
	c.uplink = link.Device
	return c.translation(said, p)
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
	plugin := c.snat()
	plugin.Config = config
	err = plugin.Run(c.ctx, verb)
	if errors.Is(err, delegate.ErrMissing) && verb != "STATUS" { // whose code is the caller's
		return cnierr.New(cnierr.Config, err, "install eni-snat beside this plugin")
	}
	return err
}

func (c *call) snat() delegate.Plugin {
	return delegate.Plugin{Type: netconf.EniSNAT, Path: c.args.Path}
}

// section is what of eni-snat's configuration decides what its rules depend on.
type section struct {
	DataDir  string `json:"dataDir"`
	Backend  string `json:"backend"`
	Primary  string `json:"primary"`
	SNAT     *bool  `json:"snat"`
	NodePort *bool  `json:"nodePort"`
}

// translation names all that eni-snat's rules for the container depend on, eni-snat itself too, and the state of nftables; "" where that
// does not tell whether they are there: the backend is another, the primary interface or its address is found in another way than by the
// store, or the legacy iptables, which has no such number, has tables.
func (c *call) translation(said section, p placement) string {
	switch {
	case !c.conf.OwnIPAM() || !p.primary.PrimaryIP.IsValid() || c.uplink.Name == "":
		return ""
	case said.DataDir != "" && said.DataDir != c.conf.IPAM.DataDir:
		return ""
	case said.Primary != "" || said.Backend != "" && said.Backend != netconf.NFTables:
		return ""
	}
	var tables []stamp.Table
	for _, f := range family.All() {
		if legacy, err := legacytables.Of(f); err != nil || len(legacy) > 0 {
			return ""
		}
		if slices.Contains(p.families(), f) {
			tables = append(tables, stamp.Table{Family: f.NFProto(), Name: layout.TableSNAT})
		}
	}
	facts := fmt.Sprintf("%s %s %s %v %s %v %s %s %s %v", c.snat().Identity(), c.conf.Name, c.conf.VethPrefix, p.families(), c.conf.SNAT,
		p.node.VPCCIDRs, p.primary.ID, p.primary.MAC, p.primary.PrimaryIP, c.uplink)
	state, err := stamp.Of(facts, tables...)
	if err != nil { // eni-snat can say what the kernel lacks
		c.log.Warn("whether eni-snat's rules are there cannot be seen", "error", err)
	}
	return state
}

// markRules are the policy rules that belong to eni-snat's marks, of each of the families.
func (s section) markRules(families []family.Family) []layout.Rule {
	on := func(field *bool) bool { return field == nil || *field }
	var rules []layout.Rule
	for _, f := range families {
		if on(s.NodePort) || on(s.SNAT) && f == family.IPv4 {
			rules = append(rules, layout.MarkRule(f))
		}
	}
	return rules
}
