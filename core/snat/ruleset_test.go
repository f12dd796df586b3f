package snat

import (
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// podnet is what a network on AWS wants where its configuration says nothing.
func podnet() Policy {
	return Policy{
		Network: "podnet", Family: family.IPv4, SNAT: true, NodePort: true,
		Primary: "eth0", PrimaryIP: netip.MustParseAddr("10.0.0.10"),
		Keep:       []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("100.64.0.0/16")},
		Containers: []string{"pod*"},
	}
}

// TestGolden shows that a ruleset's words are those in testdata, and that the kernel, asked by nft, says the same.
func TestGolden(t *testing.T) {
	with := func(change func(*Policy)) Policy {
		p := podnet()
		change(&p)
		return p
	}
	tests := map[string]Policy{
		"default":       podnet(),
		"ipv6":          podnet6(netconf.NFTables),
		"nodeport-only": with(func(p *Policy) { p.SNAT = false }),
		"snat-only":     with(func(p *Policy) { p.NodePort = false }),
		"include": with(func(p *Policy) {
			p.Include = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
			p.Keep = []netip.Prefix{netip.MustParsePrefix("10.0.3.7/32")}
		}),
		"include-alone": with(func(p *Policy) { p.Include, p.Keep = p.Keep, nil }),
		"overlaps": with(func(p *Policy) {
			p.Network = "0-digits.first"
			p.Containers = []string{"pod*", "pod1", "cni0", "podman*", "veth*"}
			for _, s := range []string{"10.0.0.0/24", "10.0.0.5/32", "10.1.0.0/16", "192.168.0.1/32", "255.0.0.0/8", "0.0.0.0/8"} {
				p.Keep = append(p.Keep, netip.MustParsePrefix(s))
			}
		}),
	}
	for name, p := range tests {
		t.Run(name, func(t *testing.T) {
			want := p.Ruleset().String()
			golden(t, filepath.Join("testdata", name+".nft"), want)
			ns := nstest.New(t)
			inside(t, ns, func(h *netstate.Handle) {
				apply(t, h, p)
				got := nft(t, "list", "ruleset")
				if diff := cmp.Diff(lines(want), lines(got)); diff != "" {
					t.Errorf("nft lists another ruleset (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestDocumented shows that the page shows what the kernel gets.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/eni-snat.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []Policy{podnet(), podnet6(netconf.NFTables)} {
		if !strings.Contains(string(page), p.Ruleset().String()) {
			t.Errorf("docs/eni-snat.md does not show the ruleset of %s as it is", p)
		}
	}
}

// golden compares text with a file, or writes the file.
func golden(t *testing.T, path, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// inside runs f on a thread of the namespace, with a handle of it.
func inside(t *testing.T, ns *nstest.NS, f func(*netstate.Handle)) {
	t.Helper()
	ns.Do(func() error {
		h, err := netstate.Here()
		if err != nil {
			return err
		}
		defer h.Close()
		f(h)
		return nil
	})
}

func apply(t *testing.T, h *netstate.Handle, p Policy) bool {
	t.Helper()
	changed, err := Apply(t.Context(), h, p)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	return changed
}

func check(t *testing.T, h *netstate.Handle, p Policy) string {
	t.Helper()
	difference, err := Check(t.Context(), h, p)
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	return difference
}

// nft runs the nft binary in the calling thread's namespace.
func nft(t *testing.T, args ...string) string {
	t.Helper()
	return command(t, "nft", args...)
}

// command runs a program in the calling thread's namespace.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	return commandWith(t, "", name, args...)
}

// commandWith runs a program with text on its stdin.
func commandWith(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func list(t *testing.T) string {
	t.Helper()
	return nft(t, "list", "table", "ip", Table)
}

var wrapped = regexp.MustCompile(`,\n\s+`)

// lines returns the lines of nft's output without indentation and with elements on one line.
func lines(s string) []string {
	var out []string
	for line := range strings.Lines(wrapped.ReplaceAllString(s, ", ")) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}
