// Command eni-ipam is a CNI IPAM plugin: it gives containers secondary addresses of the node's elastic network
// interfaces out of a local store, and grows that pool through a cloud driver when it is empty. It never touches the
// kernel's network.
package main

import (
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/enichain/enichain/core/about"
)

func main() {
	skel.PluginMainFuncs(skel.CNIFuncs{Add: cmdAdd, Del: cmdDel, Check: cmdCheck, GC: cmdGC, Status: cmdStatus},
		version.VersionsStartingFrom("0.3.0"), about.Plugin("eni-ipam"))
}
