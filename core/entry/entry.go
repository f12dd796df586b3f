// Package entry is what the mains of the plugins share: the versions of the specification that they speak, the one
// mistake of a runtime that no plugin may carry out, and the words that no DEL may fail with.
package entry

import (
	"fmt"
	"os"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/enichain/enichain/core/about"
	"github.com/enichain/enichain/core/cnierr"
	"github.com/enichain/enichain/core/sandbox"
)

// Main runs the verb that the runtime asks for, and does not return where it fails.
//
// An ADD in the host's own network namespace is refused before anything is done. skel looks for that too, but only after
// the verb: an ADD would have printed its result already, and kept its address; and a DEL, which needs no namespace,
// could never succeed (libcni 1.3.0, pkg/skel/skel.go, pluginMain). So skel is told to leave it.
func Main(plugin string, verbs skel.CNIFuncs) {
	add, del := verbs.Add, verbs.Del
	verbs.Add = func(args *skel.CmdArgs) error {
		if err := refuseHost(args.Netns); err != nil {
			return err
		}
		return add(args)
	}
	verbs.Del = func(args *skel.CmdArgs) error { return cnierr.ForDel(cnierr.IO, del(args), "") }
	_ = os.Setenv("CNI_NETNS_OVERRIDE", "true") // fails for names with a '=' or a zero byte
	skel.PluginMainFuncs(verbs, version.VersionsStartingFrom("0.3.0"), about.Plugin(plugin))
}

// refuseHost returns an error where the path leads to the network namespace that this process is in. Whether it leads to
// one at all is the plugin's to say.
func refuseHost(path string) error {
	ns, err := sandbox.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = ns.Close() }()
	ours, err := ns.IsOurs()
	if err == nil && ours {
		err = fmt.Errorf("network namespace %s is the host's own", path)
	}
	return cnierr.New(cnierr.InvalidNetns, err, "a container on the host's network needs no CNI plugin")
}
