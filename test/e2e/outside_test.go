package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
)

// The integration suite of containernetworking/plugins' portmap, with our eni-ptp where it calls for ptp.
func TestPortmapSuite(t *testing.T) {
	t.Parallel()
	suite, err := chain.Build()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = suite.Remove() })
	const plugins = "github.com/containernetworking/plugins/plugins/"
	if err := suite.AddOutside(plugins+"ipam/host-local", plugins+"meta/portmap"); err != nil {
		t.Fatal(err)
	}
	if err := suite.AddOutsideTest("portmap.test", plugins+"meta/portmap"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("eni-ptp", suite.Path("ptp")); err != nil {
		t.Fatal(err)
	}
	l := upLab(t, lab.Options{Nodes: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, suite.Path("portmap.test"), "-ginkgo.v", "-ginkgo.no-color", "-ginkgo.focus=portmap integration tests")
	cmd.Dir = outsideModule(t) // the suite builds its echo server
	cmd.Env = append(os.Environ(), "PATH="+suite.Dir+":"+os.Getenv("PATH"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = l.Nodes[0].Run(cmd)
	ran := regexp.MustCompile(`Ran (\d+) of \d+ Specs`).FindSubmatch(out.Bytes())
	if err != nil || len(ran) == 0 || string(ran[1]) != "8" {
		t.Fatalf("the suite ran %s specs, want 8: %v\n%s", ran, err, out.Bytes())
	}
}

// outsideModule is the module that pins the programs of others.
func outsideModule(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "outside"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
