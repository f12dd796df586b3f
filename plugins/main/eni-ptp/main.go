// Command eni-ptp is a CNI main plugin: it connects a container to the host by a veth pair and routes, with policy rules
// that let each address leave by the elastic network interface (ENI) which owns it. It prepares ENIs on the host and
// never speaks to a cloud.
package main

import (
	"runtime"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/enichain/enichain/core/entry"
)

// The main goroutine stays on the thread, and so in the network namespace, that the runtime started us in.
func init() { runtime.LockOSThread() }

func main() {
	entry.Main("eni-ptp", skel.CNIFuncs{Add: cmdAdd, Del: cmdDel, Check: cmdCheck, GC: cmdGC, Status: cmdStatus})
}
