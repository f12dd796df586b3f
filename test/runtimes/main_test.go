// Package runtimes has the tests under real container runtimes: containerd, asked by the CRI, and podman, in nodes of the
// lab, with the plugins as they are released and the conflists that we ship.
package runtimes

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/enichain/enichain/test/chain"
)

var (
	bin   *chain.Binaries // what a node has in /opt/cni/bin
	tools *chain.Binaries // cri, and a containerd 2.x
)

func TestMain(m *testing.M) {
	status, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func run(m *testing.M) (status int, err error) {
	if bin, err = chain.BuildRelease(); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "enichain-tools-")
	if err != nil {
		return 1, errors.Join(err, bin.Remove())
	}
	tools = &chain.Binaries{Dir: dir}
	defer func() { err = errors.Join(err, bin.Remove(), tools.Remove()) }()
	const plugins = "github.com/containernetworking/plugins/plugins/"
	if err := bin.AddOutside(plugins+"main/loopback", plugins+"meta/portmap"); err != nil {
		return 1, err
	}
	const two = "github.com/containerd/containerd/v2/cmd/"
	if err := tools.AddModule("cri", "github.com/enichain/enichain/test/cri", two+"containerd", two+"containerd-shim-runc-v2", two+"ctr"); err != nil {
		return 1, err
	}
	return m.Run(), nil
}
