// Package conformance holds the built plugins to the CNI specification, and to what runtimes rely on beyond it: one call
// at a time, with environments and configurations that libcni would never send too. Each call of each test is also held to
// the protocol of a plugin's output, see machine.run.
package conformance

import (
	"testing"

	"github.com/containernetworking/cni/pkg/version"

	"github.com/enichain/enichain/test/chain"
)

// bin has the plugins and the drivers.
var bin *chain.Binaries

func TestMain(m *testing.M) { chain.Main(m, &bin) }

// The plugins, and the verbs of the specification that act.
const (
	ipamPlugin = "eni-ipam"
	ptpPlugin  = "eni-ptp"
	snatPlugin = "eni-snat"
)

func plugins() []string { return []string{ipamPlugin, ptpPlugin, snatPlugin} }

func verbs() []string { return []string{"ADD", "DEL", "CHECK", "GC", "STATUS"} }

// versions are those of the specification that the plugins speak.
func versions() []string { return version.VersionsStartingFrom("0.3.0").SupportedVersions() }

// since returns the versions from the first on.
func since(first string) []string { return version.VersionsStartingFrom(first).SupportedVersions() }
