package bench

import "fmt"

// chain is a network configuration that is measured.
type chain struct {
	name     string // in the tables
	conflist string
	ours     bool // its addresses are of the node's pool, which is filled beforehand
	few      bool // it is measured with few containers alone
}

// The chains' names.
const (
	ours   = "enichain"
	listed = "enichain, eni-snat in the list"
	masq   = "ptp (ipMasq) + host-local"
	plain  = "ptp + host-local"
	bridge = "bridge + host-local + portmap"
)

// peerPlugins are the packages of the peers, as test/outside pins them.
func peerPlugins() []string {
	const plugins = "github.com/containernetworking/plugins/plugins/"
	return []string{plugins + "main/ptp", plugins + "main/bridge", plugins + "ipam/host-local", plugins + "meta/portmap"}
}

// chains are ours and what a user would pick instead. bridge is as the conflists have it that containerd and podman bring.
func chains() []chain {
	return []chain{
		{name: ours, conflist: ourConflist(layout{}, within), ours: true},
		{name: masq, conflist: list("masq", `{"type": "ptp", "ipMasq": true, "ipam": `+hostLocal+`}`)},
		{name: plain, conflist: list("plain", `{"type": "ptp", "ipam": `+hostLocal+`}`)},
		{name: bridge, conflist: list("bridged", `{"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": `+
			hostLocal+`}, {"type": "portmap", "capabilities": {"portMappings": true}}`)},
		{name: listed, conflist: ourConflist(layout{}, behind), ours: true, few: true},
	}
}

// hostLocal is the peers' "ipam" section. The range has room for 4093 containers.
const hostLocal = `{"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/20"}]], "routes": [{"dst": "0.0.0.0/0"}]}`

// translation is where eni-snat is.
type translation int

// It is nowhere, in eni-ptp's "snat", or behind eni-ptp in the list.
const (
	nowhere translation = iota
	within
	behind
)

// ourConflist is our chain on secondary ENIs, with a layout of policy routing, or else the default one, and eni-snat
// somewhere. /28 prefixes bring a thousand addresses to a node. An address cools for a second, and not for
// half a minute: many thousands are given and taken back.
func ourConflist(l layout, snat translation) string {
	fields, last := "", ""
	if l.routing != "" {
		fields += fmt.Sprintf(`, "routing": %q`, l.routing)
	}
	if l.marking != "" {
		fields += fmt.Sprintf(`, "marking": %q`, l.marking)
	}
	switch snat {
	case within:
		fields += `, "snat": {}`
	case behind:
		last = `, {"type": "eni-snat"}`
	}
	return list("enichain", `{"type": "eni-ptp"`+fields+`, "ipam": {"type": "eni-ipam", "cloud": "aws", "prefixes": true, "firstDeviceIndex": 1, `+
		`"cooldown": "1s"}}`+last)
}

// bare is a chain of so many plugins that do nothing.
func bare(processes int) chain {
	plugins := `{"type": "nothing"}`
	for range processes - 1 {
		plugins += `, {"type": "nothing"}`
	}
	return chain{name: bareName(processes), conflist: list(fmt.Sprintf("bare%d", processes), plugins)}
}

func bareName(processes int) string {
	if processes == 1 {
		return "a process that does nothing"
	}
	return fmt.Sprintf("%d processes that do nothing", processes)
}

func list(name, plugins string) string {
	return fmt.Sprintf(`{"cniVersion": "1.0.0", "name": %q, "plugins": [%s]}`, name, plugins)
}
