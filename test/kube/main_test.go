//go:build kube

// Package kube runs a real Kubernetes over enichain: an API server and its controllers on a host of the lab's VPC, and
// containerd, kubelet and kube-proxy on two of its nodes, whose pods have the conflist's addresses. It is a module of its
// own, so that enichain's is not Kubernetes'; `make test-kube` builds what it needs.
package kube

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/test/chain"
)

// bin has the plugins as they are released, those of others that stand beside them, and the pods' program.
var bin *chain.Binaries

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
	defer func() { err = errors.Join(err, bin.Remove()) }()
	if err := bin.AddOutside(
		"github.com/containernetworking/plugins/plugins/main/loopback",
		"github.com/containernetworking/plugins/plugins/meta/portmap",
	); err != nil {
		return 1, err
	}
	if err := bin.AddOurs("test/kube/echo"); err != nil { // the pods' program
		return 1, err
	}
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet"} {
		if _, err := os.Stat(binary(name)); err != nil {
			return 1, fmt.Errorf("make test-kube builds it: %w", err)
		}
	}
	before, err := machineState()
	if err != nil {
		return 1, err
	}
	status = m.Run()
	after, err := machineState()
	if err != nil {
		return 1, err
	}
	if after != before {
		return 1, fmt.Errorf("the machine has changed (-before +after):\n%s", cmp.Diff(before, after))
	}
	return status, nil
}

// binary is the path of one of Kubernetes' own programs.
func binary(name string) string {
	path, err := filepath.Abs(filepath.Join("..", "..", "bin", "kube", name))
	if err != nil {
		panic(err) // there is no working folder
	}
	return path
}
