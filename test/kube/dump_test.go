//go:build kube

package kube

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
)

// update writes kube-proxy's rules to where `make test` finds them: make test-kube UPDATE=1.
var update = flag.Bool("update", false, "write kube-proxy's rules into the testdata of test/e2e")

// dump writes the rules of node1's kube-proxy, with names in place of addresses.
func (c *cluster) dump(t *testing.T, mode string, f family) {
	t.Helper()
	command := []string{f.save}
	if mode == "nftables" {
		command = []string{"nft", "list", "table", f.table, "kube-proxy"}
	}
	out, err := c.workers[0].Output(c.ctx, nil, command[0], command[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	rules := string(out)
	if mode == "iptables" {
		rules = kubeRules(rules)
	}
	for _, name := range []string{"node1", "node2", "vpc", "internet", "node1-primary", "node1-secondary", "node2-primary", "node2-secondary"} {
		address := regexp.MustCompile(`\b` + regexp.QuoteMeta(c.ipOf(f, name).String()) + `\b`)
		rules = address.ReplaceAllString(rules, "{{"+name+"}}")
	}
	file := "../e2e/testdata/kube-proxy-" + mode + "-" + f.name
	if err := os.WriteFile(file, []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
}

// kubeRules are the lines of iptables-save that are kube-proxy's and kubelet's: without the canaries, and without counters,
// some of which are objects of their own.
func kubeRules(saved string) string {
	counters := regexp.MustCompile(` -m nfacct --nfacct-name +\S+| \[\d+:\d+\]`)
	var kept []string
	for line := range strings.Lines(saved) {
		structure := line[0] == '*' || strings.HasPrefix(line, "COMMIT")
		if structure || strings.Contains(line, "KUBE-") && !strings.Contains(line, "CANARY") {
			kept = append(kept, counters.ReplaceAllString(line, ""))
		}
	}
	return strings.Join(kept, "")
}
