// Command eni-ipam is a CNI IPAM plugin: it gives containers secondary addresses of the node's elastic network
// interfaces out of a local store, and grows that pool through a cloud driver when it is empty. It never touches the
// kernel's network.
package main

import (
	"github.com/containernetworking/cni/pkg/skel"

	"github.com/enichain/enichain/core/entry"
)

func main() {
	entry.Main("eni-ipam", skel.CNIFuncs{Add: cmdAdd, Del: cmdDel, Check: cmdCheck, GC: cmdGC, Status: cmdStatus})
}
