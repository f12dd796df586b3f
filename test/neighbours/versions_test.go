package neighbours

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/lab/labtest"
	"github.com/enichain/enichain/test/probe"
)

// cnitools are the versions of libcni, by cnitool, and the modules below test/outside that pin them: those of the runtimes in
// use, the first and the last of each line.
func cnitools() map[string]string {
	return map[string]string{
		"0.8.1": "cnitool-0.8.1", "1.0.1": "cnitool-1.0.1", "1.1.2": "cnitool-1.1.2", "1.2.3": "cnitool-1.2.3", "1.3.1": "",
	}
}

// newest returns the newest version of the specification that a libcni knows.
func newest(libcni string) string {
	switch {
	case atLeast(libcni, "1.2.0"):
		return "1.1.0"
	case atLeast(libcni, "1.0.0"):
		return "1.0.0"
	}
	return "0.4.0"
}

// atLeast compares two versions; one that is none is nothing.
func atLeast(v, least string) bool {
	ok, err := version.GreaterThanOrEqualTo(v, least)
	return ok && err == nil
}

// versioned is a conflist, and the versions that it says.
type versioned struct {
	name     string
	conflist string
	version  string
	versions []string // "cniVersions", which libcni knows from 1.2 on
}

// speaks returns the version that a libcni speaks to the plugins of the list, and false where it cannot.
func (v versioned) speaks(libcni string) (string, bool) {
	best := v.version
	if atLeast(libcni, "1.2.0") {
		for _, known := range v.versions {
			if atLeast(newest(libcni), known) && atLeast(known, best) {
				best = known
			}
		}
	}
	return best, atLeast(newest(libcni), best)
}

// conflists are those that we ship for AWS, and one of each version, with and without "cniVersions".
func conflists(t *testing.T) []versioned {
	t.Helper()
	all := []string{"0.4.0", "1.0.0", "1.1.0"}
	var out []versioned
	for _, v := range []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		out = append(out, versioned{v, fmt.Sprintf(`{"cniVersion": %q, "name": "enichain", "plugins": [%s, %s]}`, v, eniPTP, eniSNAT), v, nil})
	}
	out = append(out, versioned{
		"0.4.0 and more", strings.Replace(string(list("enichain", eniPTP, eniSNAT)), `"1.0.0"`, `"0.4.0"`, 1), "0.4.0", all,
	})
	shipped, err := filepath.Glob("../../conflist/10-enichain-aws*.conflist")
	if err != nil || len(shipped) < 2 {
		t.Fatalf("shipped: %v, %v", shipped, err)
	}
	for _, path := range shipped {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		quick := strings.Replace(string(text), `"cloud": "aws"`, `"cloud": "aws", "cooldown": "0s"`, 1)
		out = append(out, versioned{filepath.Base(path), quick, "1.0.0", all})
	}
	return out
}

// Every version of libcni loads our conflists of every version that it knows, by cnitool: ADD, CHECK, STATUS, DEL twice, GC.
// What it does not know it refuses, and nothing stays.
func TestVersionsOfLibcni(t *testing.T) {
	t.Parallel()
	for libcni := range cnitools() {
		t.Run(libcni, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, lab.Options{IPv6: true})
			s.warm(t, s.network(t, list("enichain", both(eniPTP), eniSNAT)))
			tool := cnitool{site: s, version: libcni}
			for _, v := range conflists(t) {
				t.Run(v.name, func(t *testing.T) { tool.lives(t, v) })
			}
		})
	}
}

// cnitool is one version of it, on the first node.
type cnitool struct {
	*site
	version string
}

// netnsPath is the container's, from which cnitool makes its ID.
const netnsPath = "/run/netns/c"

func (c cnitool) run(t *testing.T, verb string) (string, error) {
	t.Helper()
	out, err := c.node.Output(t.Context(), c.node.Env(), bin.Path("cnitool-"+c.version), verb, "enichain", netnsPath)
	return string(out), err
}

func (c cnitool) must(t *testing.T, verb string) string {
	t.Helper()
	out, err := c.run(t, verb)
	if err != nil {
		t.Errorf("cnitool %s: %v", verb, err)
	}
	return out
}

// lives lets a container live on a conflist's network.
func (c cnitool) lives(t *testing.T, v versioned) {
	if err := c.node.InstallCNI(bin.Dir, []byte(v.conflist)); err != nil {
		t.Fatal(err)
	}
	before := c.state(t)
	netns(t, c.node, "c")
	want, known := v.speaks(c.version)
	out, err := c.run(t, "add")
	if known != (err == nil) {
		t.Errorf("ADD in version %s: %v", want, err)
	}
	if known && err == nil {
		c.wantResult(t, out, want)
		if atLeast(want, "0.4.0") {
			c.must(t, "check")
		}
		if atLeast(c.version, "1.2.0") {
			c.must(t, "status")
		}
		c.must(t, "del")
		c.must(t, "del")
		if atLeast(want, "1.1.0") { // before, there is no GC, and libcni's is nothing
			c.must(t, "add")
			c.must(t, "gc")
		}
	}
	if !known {
		c.must(t, "del") // libcni has run ADD, and cannot read the result: runtimes then run DEL
	}
	if err := c.node.DelNetns("c"); err != nil {
		t.Error(err)
	}
	c.unchanged(t, before)
}

// wantResult reads ADD's result, and pings from the address in it.
func (c cnitool) wantResult(t *testing.T, out, want string) {
	t.Helper()
	var said struct {
		CNIVersion string `json:"cniVersion"`
	}
	if err := json.Unmarshal([]byte(out), &said); err != nil || said.CNIVersion != want {
		t.Errorf("the result's version is %q, want %s: %v", said.CNIVersion, want, err)
	}
	read, err := create.CreateFromBytes([]byte(out))
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	result, err := types100.NewResultFromResult(read)
	if err != nil {
		t.Fatal(err)
	}
	for _, ip := range chain.IPs(result) {
		labtest.MustPing(t, c.node.Container("c"), c.of(ip).far, probe.From{Address: ip})
		labtest.MustPing(t, c.far(), ip, probe.From{})
	}
}
