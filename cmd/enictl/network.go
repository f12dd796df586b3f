package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/enichain/enichain/core/netconf"
)

// place is where the node's configuration and its binaries are.
type place struct {
	conflist string // a file; empty where one is to be looked for
	network  string // its name; empty is any
	confDir  string
	cniPath  string
}

// placeOf reads what cnitool reads too; the defaults are those of the runtimes.
func placeOf(env func(string) string) place {
	p := place{confDir: env("NETCONFPATH"), cniPath: env("CNI_PATH")}
	if p.confDir == "" {
		p.confDir = "/etc/cni/net.d"
	}
	if p.cniPath == "" {
		p.cniPath = "/opt/cni/bin"
	}
	return p
}

// conflist is a network's configuration as it stands in a file. A single plugin's file is a list of one.
type conflist struct {
	File    string            `json:"-"`
	Name    string            `json:"name"`
	Plugins []json.RawMessage `json:"plugins"`

	raw []byte
}

// network is a node's network that eni-ipam serves.
type network struct {
	file, name string
	ipam       *netconf.IPAM
	ptp        *netconf.PTP  // nil where another main plugin makes the interfaces
	snat       *netconf.SNAT // nil where it is neither in the chain nor in eni-ptp's "snat"
}

// routing returns the layout of the policy rules that the network is to have.
func (n *network) routing() netconf.Routing {
	if n.ptp == nil {
		return netconf.PerPod
	}
	return n.ptp.Routing
}

// findNetwork reads the conflist that is named, or else the first that has eni-ipam, in the order in which runtimes take
// them.
func findNetwork(p place) (*network, error) {
	if p.conflist != "" {
		list, err := readConflist(p.conflist)
		if err != nil {
			return nil, err
		}
		n, err := networkOf(list)
		if err == nil && n == nil {
			err = fmt.Errorf("%s has no plugin whose \"ipam\" is eni-ipam", p.conflist)
		}
		return n, err
	}
	files, err := confFiles(p.confDir)
	if err != nil {
		return nil, err
	}
	var unread []error
	for _, file := range files {
		list, err := readConflist(file)
		if err != nil {
			unread = append(unread, err)
			continue
		}
		if p.network != "" && list.Name != p.network {
			continue
		}
		if n, err := networkOf(list); err != nil || n != nil {
			return n, err
		}
	}
	what := "no conflist with eni-ipam"
	if p.network != "" {
		what = fmt.Sprintf("no network %q with eni-ipam", p.network)
	}
	return nil, errors.Join(append([]error{fmt.Errorf("%s is in %s: name one by -conflist", what, p.confDir)}, unread...)...)
}

// confFiles lists the files that runtimes read, in their order (libcni, ConfFiles).
func confFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for conflists: %w", err)
	}
	var files []string
	for _, e := range entries {
		if slices.Contains([]string{".conflist", ".conf", ".json"}, filepath.Ext(e.Name())) {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

func readConflist(file string) (*conflist, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read conflist: %w", err)
	}
	list := &conflist{File: file, raw: data}
	if err := json.Unmarshal(data, list); err != nil {
		return nil, fmt.Errorf("read conflist %s: %w", file, err)
	}
	if list.Plugins == nil {
		list.Plugins = []json.RawMessage{data}
	}
	return list, nil
}

// networkOf returns what the list says of our plugins; nil where eni-ipam is in none of its plugins.
func networkOf(list *conflist) (*network, error) {
	n := &network{file: list.File, name: list.Name}
	for i, plugin := range list.Plugins {
		raw, err := named(plugin, list.Name)
		if err != nil {
			return nil, fmt.Errorf("%s: plugins[%d]: %w", list.File, i, err)
		}
		var p types.NetConf
		if err = json.Unmarshal(raw, &p); err == nil {
			err = n.read(&p, raw)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: plugins[%d]: %w (see: enictl lint %s)", list.File, i, err, list.File)
		}
	}
	if n.ipam == nil {
		return nil, nil
	}
	return n, nil
}

// named puts the network's name into a plugin's configuration, as a runtime does.
func named(plugin json.RawMessage, name string) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(plugin, &fields); err != nil {
		return nil, err
	}
	if fields == nil {
		return nil, errors.New("null is no plugin")
	}
	quoted, err := json.Marshal(name)
	if err != nil {
		return nil, err
	}
	fields["name"] = quoted
	return json.Marshal(fields)
}

// read takes from one plugin of the list what is ours.
func (n *network) read(p *types.NetConf, raw []byte) (err error) {
	if p.IPAM.Type == netconf.EniIPAM && n.ipam == nil {
		request, err := netconf.ParseIPAM(raw)
		if err == nil {
			err = request.Validate()
		}
		if err != nil {
			return err
		}
		n.ipam = &request.IPAM
		if p.Type == "eni-ptp" {
			if n.ptp, err = netconf.ParsePTP(raw); err != nil {
				return err
			}
		}
	}
	found, err := netconf.SNATIn(p.Type, raw)
	if found != nil {
		n.snat = found
	}
	return err
}
