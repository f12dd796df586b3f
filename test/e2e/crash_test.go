package e2e

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
)

// plugin puts together a call of one plugin of a network, as libcni would.
func plugin(n *lab.Node, command, id, conf string, prevResult []byte) chain.Call {
	fields := map[string]any{"cniVersion": "1.0.0", "name": "enichain"}
	if err := json.Unmarshal([]byte(conf), &fields); err != nil {
		panic(err)
	}
	if prevResult != nil {
		fields["prevResult"] = json.RawMessage(prevResult)
	}
	stdin, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	env := map[string]string{
		"CNI_COMMAND": command, "CNI_CONTAINERID": id, "CNI_NETNS": "/run/netns/" + id, "CNI_IFNAME": "eth0",
	}
	for _, v := range n.Env() {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	return chain.Call{Plugin: "/opt/cni/bin/" + fields["type"].(string), Env: env, Stdin: stdin}
}

const (
	ptpConf  = `{"type": "eni-ptp", "ipam": {"type": "eni-ipam", "cloud": "aws", "cooldown": "0s", "firstDeviceIndex": 1}}`
	snatConf = `{"type": "eni-snat"}`
)

// must runs a call that has to succeed.
func must(t *testing.T, n *lab.Node, c chain.Call) []byte {
	t.Helper()
	o, err := c.Run(t.Context(), &n.Host)
	if err != nil || o.Status != 0 {
		t.Fatalf("%s %s: %v, %s", c.Env["CNI_COMMAND"], c.Plugin, err, o.Stdout)
	}
	return o.Stdout
}

func snapshot(t *testing.T, n *lab.Node) []string {
	t.Helper()
	s, err := chain.Snapshot(t.Context(), n, dataDir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// killAtEachStep runs a call again and again, killed one step later each time, and cleanUp after each, until the call
// lives to its end. It says how many kills there were.
func killAtEachStep(t *testing.T, n *lab.Node, do func(i int) chain.Call, cleanUp func(i int)) {
	t.Helper()
	for i := 1; i <= chain.MaxSteps; i++ {
		c := do(i)
		c.Wrapper = chain.KilledAt(i)
		o, err := c.Run(t.Context(), &n.Host)
		if err != nil {
			t.Fatal(err)
		}
		cleanUp(i)
		if t.Failed() {
			t.Fatalf("after %s was killed at step %d", c.Env["CNI_COMMAND"], i)
		}
		if o.Status == 0 {
			if i < 5 { // eni-snat has eight or more
				t.Fatalf("%s ended after %d steps: it was not killed at all", c.Env["CNI_COMMAND"], i)
			}
			t.Logf("%s was killed %d times", c.Env["CNI_COMMAND"], i-1)
			return
		}
	}
	t.Fatalf("still killed at step %d", chain.MaxSteps)
}

// crashNode is a node whose ENIs are prepared, and whose pool has addresses: the state that crashes must lead back to.
func crashNode(t *testing.T) (*lab.Node, []string) {
	t.Helper()
	l := upLab(t, lab.Options{Nodes: 1})
	n := l.Nodes[0]
	onNode(t, n, fmt.Sprintf(whole, "", ""))
	if _, err := n.AddNetns("warm"); err != nil {
		t.Fatal(err)
	}
	result := must(t, n, plugin(n, "ADD", "warm", ptpConf, nil))
	must(t, n, plugin(n, "ADD", "warm", snatConf, result))
	must(t, n, plugin(n, "DEL", "warm", ptpConf, nil))
	return n, snapshot(t, n)
}

func TestKilledADD(t *testing.T) {
	for name, cleanUp := range map[string]func(t *testing.T, n *lab.Node, id string){
		"then DEL": func(t *testing.T, n *lab.Node, id string) {
			t.Helper()
			must(t, n, plugin(n, "DEL", id, ptpConf, nil))
		},
		"then the netns goes, then DEL": func(t *testing.T, n *lab.Node, id string) {
			t.Helper()
			if err := n.DelNetns(id); err != nil {
				t.Fatal(err)
			}
			c := plugin(n, "DEL", id, ptpConf, nil)
			c.Env["CNI_NETNS"] = ""
			must(t, n, c)
		},
		"then GC": func(t *testing.T, n *lab.Node, _ string) {
			t.Helper()
			gc := strings.TrimSuffix(ptpConf, "}") + `, "cniVersion": "1.1.0", "cni.dev/valid-attachments": []}`
			must(t, n, plugin(n, "GC", "", gc, nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, before := crashNode(t)
			id := func(i int) string { return "c" + strconv.Itoa(i) }
			killAtEachStep(t, n, func(i int) chain.Call {
				if _, err := n.AddNetns(id(i)); err != nil {
					t.Fatal(err)
				}
				return plugin(n, "ADD", id(i), ptpConf, nil)
			}, func(i int) {
				cleanUp(t, n, id(i))
				if !strings.Contains(name, "netns") {
					if err := n.DelNetns(id(i)); err != nil {
						t.Fatal(err)
					}
				}
				sameState(t, n, before)
			})
		})
	}
}

func TestKilledDEL(t *testing.T) {
	t.Parallel()
	n, before := crashNode(t)
	if _, err := n.AddNetns("c"); err != nil {
		t.Fatal(err)
	}
	killAtEachStep(t, n, func(int) chain.Call {
		must(t, n, plugin(n, "ADD", "c", ptpConf, nil))
		return plugin(n, "DEL", "c", ptpConf, nil)
	}, func(int) {
		must(t, n, plugin(n, "DEL", "c", ptpConf, nil))
		sameState(t, n, before)
	})
}

func TestKilledSNAT(t *testing.T) {
	t.Parallel()
	n, before := crashNode(t)
	if _, err := n.AddNetns("c"); err != nil {
		t.Fatal(err)
	}
	result := must(t, n, plugin(n, "ADD", "c", ptpConf, nil))
	killAtEachStep(t, n, func(int) chain.Call {
		for _, args := range [][]string{{"nft", "delete", "table", "ip", "enichain"}, {"ip", "rule", "del", "pref", "1024"}} {
			if _, err := n.Output(t.Context(), nil, args[0], args[1:]...); err != nil && args[0] == "nft" {
				t.Fatal(err)
			}
		}
		return plugin(n, "ADD", "c", snatConf, result)
	}, func(int) {
		must(t, n, plugin(n, "ADD", "c", snatConf, result)) // a runtime's next container
		must(t, n, plugin(n, "CHECK", "c", snatConf, result))
	})
	must(t, n, plugin(n, "DEL", "c", snatConf, nil))
	must(t, n, plugin(n, "DEL", "c", ptpConf, nil))
	sameState(t, n, before)
}

// sameState compares what is in the node with what was before, veths that are still going aside: the kernel removes those
// of a namespace that went some time after it.
func sameState(t *testing.T, n *lab.Node, before []string) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		diff := cmp.Diff(before, snapshot(t, n))
		if diff == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind or lost (-before +after):\n%s", diff)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
