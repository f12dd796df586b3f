package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
)

// bin has the plugins, cnitool and enilab.
var bin *chain.Binaries

func TestMain(m *testing.M) { chain.MainWith(m, &bin, more) }

// more is what these tests need beside the plugins.
func more() error {
	return errors.Join(bin.AddOutside("github.com/containernetworking/cni/cnitool"), bin.AddOurs("test/enilab"))
}

const (
	conflist = "../../conflist/10-enichain-aws.conflist"
	dual     = "../../conflist/10-enichain-aws-dual.conflist"
)

func shipped(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// enilab starts `enilab demo` as make demo does, where no other program can be found.
func enilab(ctx context.Context, file string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, bin.Path("enilab"), append([]string{"demo", "-conflist", file}, args...)...)
	cmd.Env = []string{"PATH=/nonexistent"}
	return cmd
}

var summary = regexp.MustCompile(`The lab is down\. (\d+) walks, (\d+) ok, [0-9.]+ s\n$`)

// lines returns the lines of the walks, which are those with a path or an outcome.
func lines(out string) (all []string) {
	for line := range strings.Lines(out) {
		if regexp.MustCompile(`^  (node\d|internet)\S*.*(veth|eth\d).*  (ok|FAILED)\b`).MatchString(line) {
			all = append(all, strings.TrimSpace(line))
		}
	}
	return all
}

// good runs a demo that must show every walk as it should be, and returns what it printed.
func good(t *testing.T, file string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := enilab(t.Context(), file, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v:\n%s", err, &out)
	}
	found := summary.FindStringSubmatch(out.String())
	if found == nil || found[1] != found[2] || found[1] != fmt.Sprint(len(lines(out.String()))) {
		t.Errorf("the summary is %q of %d lines:\n%s", found, len(lines(out.String())), &out)
	}
	if strings.Contains(out.String(), "FAILED") || strings.Contains(out.String(), "\x1b") {
		t.Errorf("a failure, or colours in a file:\n%s", &out)
	}
	return out.String()
}

// hasLines wants lines of what a demo printed.
func hasLines(t *testing.T, out string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(out) {
			t.Errorf("no line is %s in:\n%s", p, out)
		}
	}
}

// Tencent Cloud's demo has the same walks.
func TestEveryWalkIsOKOnTencentCloud(t *testing.T) {
	out := good(t, "../../conflist/10-enichain-tencent.conflist", "-cloud", "tencent")
	hasLines(t, out, "Tencent Cloud was asked for addresses")
}

// With IPv6 the walks are made by both families: to and from the internet a container is itself, by its own ENI.
func TestEveryWalkOfBothFamiliesIsOK(t *testing.T) {
	for _, cloud := range []string{"aws", "tencent"} {
		t.Run(cloud, func(t *testing.T) {
			t.Parallel()
			out := good(t, "../../conflist/10-enichain-"+cloud+"-dual.conflist", "-cloud", cloud, "-ipv6")
			hasLines(
				t, out,
				`node1/c\d+ \(eth1\) +internet +veth > eth0 +10.19.0.22 +ok`,
				`node1/c\d+ \(eth1\) +node1/c\d+ \(eth1\) +veth > veth +2001:db8:19:b:\S+ +ok`,
				`node1/c\d+ \(eth1\) +node2/c\d+ \(eth1\) +veth > eth1 > eth1 > veth +2001:db8:19:b:\S+ +ok`,
				`node1/c\d+ \(eth1\) +node1 +veth +2001:db8:19:b:\S+ +ok`,
				`node1 +node1/c\d+ \(eth1\) +veth +2001:db8:19:a::10 +ok`,
				`node2 +node1/c\d+ \(eth1\) +eth0 > eth1 > veth +2001:db8:19:a::11 +ok`,
				`node1/c\d+ \(eth2\) +internet +veth > eth2 +2001:db8:19:a:\S+ +ok`,
				`internet +node1/c\d+ \(eth1\) +eth1 > veth +2001:db8:100::10 +ok`,
				`internet +node1:30080 to node1/c\d+ \(eth1\) +eth0 > veth +2001:db8:100::10 +ok`,
				`node2 +node1:30081 to node1/c\d+ \(eth2\) +eth0 > eth0 > veth +2001:db8:19:a::11 +ok`,
				`node1/c\d+ \(eth1\) +itself by Service \[fd00:20::a\]:80 +veth > veth +2001:db8:19:a::10 +ok`,
				`\n  1536: from 2001:db8:19:b:\S+ lookup 2 proto 101\n`,
				`node1: nft list table ip6 enichain\n\n  table ip6 enichain \{`,
			)
		})
	}
}

// Containers without an address of IPv6 are not passed over.
func TestAMissingFamilyIsNoticed(t *testing.T) {
	t.Parallel()
	out, err := enilab(t.Context(), conflist, "-ipv6").Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(exit.Stderr), "no address of IPv6") {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestEveryWalkIsOK(t *testing.T) {
	links, mounts := machine(t)
	out := good(t, conflist)
	hasLines(
		t, out,
		`node1/c6 \(eth1\) +node1/c7 \(eth1\) +veth > veth +10.19.16.\d+ +ok`,
		`node1/c6 \(eth1\) +node1/c11 \(eth2\) +veth > veth +10.19.16.\d+ +ok`,
		`node1/c6 \(eth1\) +node2/c\d+ \(eth1\) +veth > eth1 > eth1 > veth +10.19.16.\d+ +ok`,
		`node1/c6 \(eth1\) +node1 +veth +10.19.16.\d+ +ok`,
		`node1 +node1/c6 \(eth1\) +veth +10.19.0.22 +ok`,
		`node2 +node1/c6 \(eth1\) +eth0 > eth1 > veth +10.19.0.11 +ok`,
		`node1/c6 \(eth1\) +internet +veth > eth0 +10.19.0.22 +ok`,
		`internet +node1:30080 to node1/c6 \(eth1\) +eth0 > veth +198.51.100.10 +ok`,
		`node2 +node1:30081 to node1/c11 \(eth2\) +eth0 > eth0 > veth +10.19.0.11 +ok`,
		`node1/c6 \(eth1\) +itself by Service 172.20.0.10:80 +veth > veth +10.19.0.22 +ok`,
		`node1/c6 \(eth1\) +metadata service +veth > eth0 +10.19.0.22 +ok`,
		`node2/c0 \(eth1\) +internet +veth > eth1 +nothing +ok  \(the VPC dropped \d packets\)`,
	)
	nothingRuns(t)
	linksAfter, mountsAfter := machine(t)
	if diff := cmp.Diff([]any{links, mounts}, []any{linksAfter, mountsAfter}); diff != "" {
		t.Errorf("left on the machine (-before +after):\n%s", diff)
	}
}

// machine lists what a demo could leave on the machine itself.
func machine(t *testing.T) (links, mounts []string) {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		links = append(links, l.Name)
	}
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return links, strings.Split(string(table), "\n")
}

// nothingRuns says that no program of bin is a process any more.
func nothingRuns(t *testing.T) {
	t.Helper()
	exes, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, exe := range exes {
		// In a node the programs are in another folder; what tells them is that they are bin's.
		if path, err := os.Readlink(exe); err == nil && strings.HasPrefix(path, bin.Dir) {
			t.Errorf("%s is still running, as %s", path, filepath.Dir(exe))
		}
	}
}

// What is shown of the kernel is what ip(8) shows of it, and -v shows packets.
func TestTheWordsAreThoseOfIP(t *testing.T) {
	compare := func(l *lab.Lab) error {
		n := &node{Node: l.Nodes[0]}
		s, err := n.look()
		if err != nil {
			return err
		}
		four, six := s.routes[family.IPv4], s.routes[family.IPv6]
		for args, words := range map[string][]string{
			"rule": four.rules, "route": four.tables[unix.RT_TABLE_MAIN], "route show table 2": four.tables[2], "route show table 3": four.tables[3],
			"-6 rule": six.rules, "-6 route": six.tables[unix.RT_TABLE_MAIN], "-6 route show table 2": six.tables[2],
		} {
			out, err := n.Output(t.Context(), nil, "ip", strings.Fields(args)...)
			if err != nil {
				return err
			}
			var want []string
			for line := range strings.Lines(string(out)) {
				want = append(want, strings.Join(strings.Fields(line), " "))
			}
			if diff := cmp.Diff(want, words); diff != "" {
				t.Errorf("ip %s (-want +got):\n%s", args, diff)
			}
		}
		return nil
	}
	var out bytes.Buffer
	ok, err := Run(t.Context(), Options{Bin: bin.Dir, Conflist: shipped(t, dual), IPv6: true, Verbose: true, Tamper: compare}, &out)
	if err != nil || !ok {
		t.Fatalf("%v, %v:\n%s", ok, err, &out)
	}
	if !regexp.MustCompile(`\n      node1 eth1 +out 10\.19\.16\.\d+:\d+ > 10\.19\.16\.\d+:\d+ tcp \[S\] ttl 63`).MatchString(out.String()) {
		t.Errorf("no packet is shown:\n%s", &out)
	}
}

// A demo that cannot fail proves nothing.
func TestAMissingPluginIsNoticed(t *testing.T) {
	t.Parallel()
	plugins := regexp.MustCompile(`,\s*"snat": \{\}`)
	file := filepath.Join(t.TempDir(), "without-snat.conflist")
	if err := os.WriteFile(file, plugins.ReplaceAll(shipped(t, dual), nil), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := enilab(t.Context(), file, "-ipv6").Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(exit.Stderr), errNotAll) {
		t.Errorf("%v", err)
	}
	sameFailures(t, string(out))
}

const errNotAll = "not all was as it should be"

// sameFailures says that the walks failed that need eni-snat, and no others.
func sameFailures(t *testing.T, out string) {
	t.Helper()
	var failed []string
	for _, line := range lines(out) {
		if strings.HasSuffix(line, "FAILED") {
			from, to := strings.TrimSpace(line[:17]), strings.TrimSpace(line[18:51])
			failed = append(failed, from+" > "+to)
		}
	}
	want := []string{
		"node1/c1 (eth0) > internet", "node1/c6 (eth1) > internet", "node1/c11 (eth2) > internet", "node1/c6 (eth1) > metadata service",
	}
	nodePorts := []string{
		"internet > node1:30080 to node1/c6 (eth1)", "node2 > node1:30081 to node1/c11 (eth2)", "internet > node1:30082 to node1/c6 (eth1)",
	}
	want = slices.Concat(want, nodePorts, nodePorts) // of each family
	if diff := cmp.Diff(want, failed); diff != "" {
		t.Errorf("failed walks (-want +got):\n%s\n%s", diff, out)
	}
	if !regexp.MustCompile(`\d+ walks, \d+ ok, 10 FAILED`).MatchString(out) {
		t.Errorf("the summary does not tell:\n%s", out)
	}
}

func TestAMissingRuleIsNoticed(t *testing.T) {
	t.Parallel()
	broken := func(l *lab.Lab) error {
		// And a pair of links is made that will be left.
		stray := netlink.NewVeth(netlink.LinkAttrs{Name: "stray0"})
		stray.PeerName = "stray1"
		errs := []error{l.Nodes[0].Do(func() error { return netlink.LinkAdd(stray) })}
		for _, n := range l.Nodes {
			h, err := n.Handle(unix.NETLINK_ROUTE)
			if err != nil {
				return err
			}
			mask := uint32(layout.Mark)
			rule := netlink.NewRule()
			rule.Priority, rule.Mark, rule.Mask, rule.Table = layout.PrefMark, layout.Mark, &mask, layout.TableMain
			errs = append(errs, h.RuleDel(rule))
			h.Close()
		}
		return errors.Join(errs...)
	}
	var out bytes.Buffer
	ok, err := Run(t.Context(), Options{Bin: bin.Dir, Conflist: shipped(t, conflist), Tamper: broken}, &out)
	if err != nil || ok {
		t.Fatalf("%v, %v:\n%s", ok, err, &out)
	}
	for _, want := range []string{
		`node1/c6 \(eth1\) +internet +veth > eth1 / nothing +nothing +FAILED`,
		`the request's path: expected veth > eth0, was veth > eth1`,
		`cnitool check of node2/c11: exit status 1: .*rule "1024: .*" is missing`,
		`node1  link stray0  FAILED`,
		`\d+ walks, \d+ ok, 6 FAILED, 25 other failures`, // eni-snat's table, CHECK of 22 containers, and two links
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("nothing is %s in:\n%s", want, &out)
		}
	}
}

// Wherever it is interrupted, all is torn down.
func TestInterrupt(t *testing.T) {
	for _, at := range []string{"First", "cnitool add", "Every walk", "cnitool del"} {
		t.Run(at, func(t *testing.T) {
			cmd := enilab(t.Context(), conflist)
			pipe, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			seen, b := "", make([]byte, 256)
			for !strings.Contains(seen, at) {
				n, err := pipe.Read(b)
				if err != nil {
					t.Fatalf("%v after %s", err, seen)
				}
				seen += string(b[:n])
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, pipe); err != nil { // until it has ended
				t.Fatal(err)
			}
			err = cmd.Wait()
			if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "interrupted") {
				t.Errorf("%v: %s", err, &stderr)
			}
			nothingRuns(t)
		})
	}
}
