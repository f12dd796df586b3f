// Package e2e has the acceptance tests: the recipes, and what the CNI asks for, with the built plugins in the lab.
package e2e

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/lab/labtest"
)

// bin has the plugins, and cnitool.
var bin *chain.Binaries

func TestMain(m *testing.M) { chain.MainWith(m, &bin, more) }

// more is what these tests need beside the plugins.
func more() error {
	return bin.AddOutside("github.com/containernetworking/cni/cnitool")
}

// dataDir is where the conflists of these tests keep the store.
const dataDir = "/run/enichain"

// ptpOnly is the chain without eni-snat, whole the one with it; %s is more of the ipam section, from a comma on.
const (
	ptpOnly = `{"cniVersion": "1.0.0", "cniVersions": ["0.4.0", "1.0.0", "1.1.0"], "name": "enichain", "plugins": [
		{"type": "eni-ptp", "ipam": {"type": "eni-ipam", "cloud": "aws"%s}}]}`
	whole = `{"cniVersion": "1.0.0", "cniVersions": ["0.4.0", "1.0.0", "1.1.0"], "name": "enichain", "plugins": [
		{"type": "eni-ptp", "ipam": {"type": "eni-ipam", "cloud": "aws"%s}, "snat": {"type": "eni-snat"%s}}]}`
)

// onClouds runs a test of what packets do on each cloud that the lab simulates.
func onClouds(t *testing.T, test func(t *testing.T, cloud string)) {
	t.Helper()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) { test(t, c.Name) })
}

// on is a conflist of AWS with another cloud in its place.
func on(cloud, conflist string) string {
	return strings.ReplaceAll(conflist, `"cloud": "aws"`, `"cloud": "`+cloud+`"`)
}

// upLab brings a lab up for the test.
func upLab(t *testing.T, o lab.Options) *lab.Lab {
	t.Helper()
	return labtest.Up(t, o)
}

// onNode makes a runtime on a node, with a conflist.
func onNode(t *testing.T, n *lab.Node, conflist string) *chain.Runtime {
	t.Helper()
	r, err := chain.NewRuntime(n, bin, []byte(conflist))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// assign adds secondary addresses to the node's ENI of a device index, by the driver, as an operator would.
func assign(t *testing.T, l *lab.Lab, n *lab.Node, deviceIndex, count int) []netip.Addr {
	t.Helper()
	var added []netip.Addr
	for _, e := range l.VPC.ENIs(n.InstanceID) {
		if e.DeviceIndex != deviceIndex {
			continue
		}
		err := n.Do(func() (err error) {
			added, err = driverOf(l, n).Assign(t.Context(), e.ID, count)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return added
}

// driverOf is the driver of the lab's cloud, as it runs in a node.
func driverOf(l *lab.Lab, n *lab.Node) *cloud.Exec {
	return &cloud.Exec{Path: bin.Path("eni-cloud-" + l.Cloud), Env: append(os.Environ(), n.Env()...)}
}

// runIn makes a container on the network, to be removed at the test's end.
func runIn(t *testing.T, r *chain.Runtime, id string, options ...chain.Option) netip.Addr {
	t.Helper()
	return chain.IP(start(t, r, id, options...))
}

// start is runIn for containers that may have several addresses.
func start(t *testing.T, r *chain.Runtime, id string, options ...chain.Option) *types100.Result {
	t.Helper()
	result, err := r.Run(t.Context(), id, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.Remove(ctx, id); err != nil {
			t.Error(err)
		}
	})
	return result
}

// sameLines compares what ip(8) prints with what the recipe shows.
func sameLines(t *testing.T, h *lab.Host, want string, args ...string) {
	t.Helper()
	got, err := chain.IPCommand(t.Context(), h, args...)
	if err != nil {
		t.Fatal(err)
	}
	var wanted []string
	for line := range strings.Lines(strings.TrimSpace(want)) {
		wanted = append(wanted, strings.TrimSpace(line))
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("%s: ip %s (-want +got):\n%s", h.Name, strings.Join(args, " "), diff)
	}
}
