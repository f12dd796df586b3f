// Command eni-snat is a chained CNI plugin: it makes containers' traffic to beyond the VPC leave by the node's primary
// ENI with its address, and connections that entered by the primary ENI be answered by it. It creates no links, and
// writes nothing per container.
package main

import (
	"github.com/containernetworking/cni/pkg/skel"

	"github.com/enichain/enichain/core/entry"
)

func main() {
	entry.Main("eni-snat", skel.CNIFuncs{Add: cmdAdd, Del: cmdDel, Check: cmdCheck, GC: cmdGC, Status: cmdStatus})
}
