package main

import (
	"testing"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
)

// bin has the built plugin and the drivers.
var bin *chain.Binaries

func TestMain(m *testing.M) { chain.Main(m, &bin) }

// up is a node of a cloud, all of whose ENIs may be used.
func up(t *testing.T, c clouds.Cloud, size clouds.Size, subnets ...string) *clouds.Node {
	t.Helper()
	n := clouds.Up(t, bin, c, size, subnets...)
	n.IPAM["manage"] = "all"
	return n
}
