package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/enichain/enichain/core/netconf"
)

func (t *tool) lint(args []string) error {
	flags := flag.NewFlagSet("lint", flag.ContinueOnError)
	rest, err := t.parse(flags, args, 0, 1)
	if err != nil {
		return err
	}
	file := t.where.conflist
	if len(rest) == 1 {
		file = rest[0]
	}
	if file == "" {
		net, err := findNetwork(t.where)
		if err != nil {
			return err
		}
		file = net.file
	}
	list, err := readConflist(file)
	if err != nil {
		return err
	}
	findings := inspect(list)
	if filepath.Ext(file) != ".conflist" {
		findings = append(findings, finding{"", "runtimes read a list only from a file whose name ends in .conflist"})
	}
	for _, f := range findings {
		t.say("%s: %s", file, f)
	}
	if len(findings) > 0 {
		return errFindings
	}
	return t.printf("%s: nothing is wrong\n", file)
}

// finding is one thing that is wrong; at is where, in the words of jq(1), empty for the whole.
type finding struct{ at, what string }

func (f finding) String() string {
	if f.at == "" {
		return f.what
	}
	return f.at + ": " + f.what
}

// listFields are those of a network configuration list (CNI specification 1.1.0, "Network configuration format").
type listFields struct {
	CNIVersion             string   `json:"cniVersion"`
	CNIVersions            []string `json:"cniVersions"`
	Name                   string   `json:"name"`
	DisableCheck           any      `json:"disableCheck"`
	DisableGC              any      `json:"disableGC"`
	LoadOnlyInlinedPlugins any      `json:"loadOnlyInlinedPlugins"`
	Plugins                []any    `json:"plugins"`
}

// inspect says what is wrong with a list.
func inspect(list *conflist) []finding {
	var whole map[string]json.RawMessage
	var head listFields
	if err := errors.Join(json.Unmarshal(list.raw, &whole), json.Unmarshal(list.raw, &head)); err != nil {
		return []finding{{"", err.Error()}}
	}
	if head.Plugins == nil {
		return []finding{{"", `"plugins" is missing: this is one plugin's configuration, and runtimes take lists`}}
	}
	findings := unknownFields("", list.raw, fieldsOf(listFields{}))
	findings = append(findings, inspectHead(head)...)
	var chained []string
	within := false // eni-snat, in eni-ptp
	for i, plugin := range list.Plugins {
		at := fmt.Sprintf("plugins[%d]", i)
		var p types.NetConf
		raw, err := named(plugin, list.Name)
		if err == nil {
			err = json.Unmarshal(raw, &p)
		}
		if err != nil {
			findings = append(findings, finding{at, err.Error()})
			continue
		}
		chained = append(chained, p.Type)
		within = within || p.Type == "eni-ptp" && hasField(raw, "snat")
		findings = append(findings, inspectPlugin(at, &p, raw)...)
	}
	findings = append(findings, inspectOrder(chained)...)
	if within && slices.Contains(chained, netconf.EniSNAT) {
		findings = append(findings, finding{"", `eni-snat is in the list, and in eni-ptp's "snat" too: once will do`})
	}
	return append(findings, inspectTogether(list)...)
}

// hasField says whether an object has the field.
func hasField(raw []byte, field string) bool {
	var fields map[string]json.RawMessage
	return json.Unmarshal(raw, &fields) == nil && fields[field] != nil
}

// inspectHead looks at the name and the versions.
func inspectHead(head listFields) []finding {
	var findings []finding
	if head.Name == "" {
		findings = append(findings, finding{"", `"name" is missing`})
	}
	known := []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}
	if !slices.Contains(known, head.CNIVersion) {
		findings = append(findings, finding{"cniVersion", fmt.Sprintf("%q is none of %s", head.CNIVersion, strings.Join(known, ", "))})
	}
	for i, v := range head.CNIVersions {
		if !slices.Contains(known, v) {
			findings = append(findings, finding{fmt.Sprintf("cniVersions[%d]", i), fmt.Sprintf("%q is none of %s", v, strings.Join(known, ", "))})
		}
	}
	if head.CNIVersion == "1.1.0" {
		findings = append(findings, finding{"cniVersion", `runtimes that speak 1.0.0 at the most refuse it: say "1.0.0", and "1.1.0" in "cniVersions"`})
	}
	return findings
}

// inspectPlugin looks at the fields and values of one of our plugins; others' are theirs to check.
func inspectPlugin(at string, p *types.NetConf, raw []byte) []finding {
	var known map[string]fieldTree
	var check func() error
	switch p.Type {
	case "":
		return []finding{{at, `"type" is missing`}}
	case "eni-ptp":
		known, check = fieldsOf(netconf.PTP{}), func() error {
			c, err := netconf.ParsePTP(raw)
			if err != nil {
				return err
			}
			return c.Validate()
		}
	case netconf.EniSNAT:
		known, check = fieldsOf(netconf.SNAT{}), func() error { _, err := netconf.ParseSNAT(raw); return err }
	}
	var findings []finding
	if known != nil {
		known["ipam"], known["snat"] = fieldTree{}, fieldTree{} // looked at by themselves
		findings = unknownFields(at, raw, known)
		if err := check(); err != nil {
			findings = append(findings, finding{at, err.Error()})
		}
	}
	if p.Type == "eni-ptp" {
		findings = append(findings, inspectSNAT(at+".snat", raw)...)
	}
	if p.IPAM.Type == netconf.EniIPAM {
		findings = append(findings, inspectIPAM(at+".ipam", raw)...)
	}
	return findings
}

// inspectSNAT looks at what an eni-ptp has of eni-snat's configuration.
func inspectSNAT(at string, raw []byte) []finding {
	section, err := netconf.SNATOf(raw, nil)
	if err != nil || section == nil {
		return nil // what is no object was said
	}
	findings := unknownFields(at, section, fieldsOf(netconf.SNAT{}))
	if _, err := netconf.ParseSNAT(section); err != nil {
		findings = append(findings, finding{at, err.Error()})
	}
	return findings
}

func inspectIPAM(at string, raw []byte) []finding {
	var section struct {
		IPAM json.RawMessage `json:"ipam"`
	}
	if err := json.Unmarshal(raw, &section); err != nil {
		return []finding{{at, err.Error()}}
	}
	findings := unknownFields(at, section.IPAM, fieldsOf(netconf.IPAM{}))
	request, err := netconf.ParseIPAM(raw)
	if err == nil {
		err = request.Validate()
	}
	if err != nil {
		findings = append(findings, finding{at, strings.TrimPrefix(err.Error(), "ipam: ")})
	}
	return findings
}

// inspectOrder looks at which plugin comes after which.
func inspectOrder(chained []string) []finding {
	var findings []finding
	ptp, snat := slices.Index(chained, "eni-ptp"), slices.Index(chained, "eni-snat")
	if ptp > 0 {
		findings = append(findings, finding{fmt.Sprintf("plugins[%d]", ptp), "eni-ptp makes the interface, and so must be the first"})
	}
	if snat == 0 {
		findings = append(findings, finding{"plugins[0]", "eni-snat needs the result of a plugin before it"})
	}
	for i, name := range chained {
		if i < snat && slices.Contains([]string{"portmap", "tuning", "bandwidth", "firewall"}, name) {
			findings = append(findings, finding{fmt.Sprintf("plugins[%d]", i), name + " belongs behind eni-snat"})
		}
		if slices.Index(chained, name) < i && strings.HasPrefix(name, "eni-") {
			findings = append(findings, finding{fmt.Sprintf("plugins[%d]", i), name + " is in the list twice"})
		}
	}
	return findings
}

// inspectTogether looks at what two plugins must agree on.
func inspectTogether(list *conflist) []finding {
	n, err := networkOf(list)
	if err != nil {
		return nil // said already
	}
	if n == nil {
		return []finding{{"", `no plugin's "ipam" is eni-ipam`}}
	}
	if n.snat != nil && n.snat.DataDir != n.ipam.DataDir {
		return []finding{{"", fmt.Sprintf(`eni-snat's "dataDir" is %s, and that of "ipam" %s: they must be the same`, n.snat.DataDir, n.ipam.DataDir)}}
	}
	return nil
}

// unknownFields names the fields that are not known, with the nearest that is.
func unknownFields(at string, raw json.RawMessage, known map[string]fieldTree) []finding {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return nil // not an object: the check of values says so
	}
	var findings []finding
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		where := strings.TrimPrefix(at+"."+name, ".")
		tree, ok := known[name]
		switch {
		case !ok:
			findings = append(findings, finding{where, "unknown field" + didYouMean(name, slices.Sorted(maps.Keys(known)))})
		case tree.list:
			var items []json.RawMessage
			_ = json.Unmarshal(fields[name], &items)
			for i, item := range items {
				findings = append(findings, unknownFields(fmt.Sprintf("%s[%d]", where, i), item, tree.fields)...)
			}
		case tree.fields != nil:
			findings = append(findings, unknownFields(where, fields[name], tree.fields)...)
		}
	}
	return findings
}
