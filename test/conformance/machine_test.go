package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/lab/labtest"
)

// machine is a node of a lab of its own, with the plugins installed.
type machine struct {
	*lab.Node
	lab *lab.Lab
}

// dataDir is where the store of a machine is unless a test says otherwise.
const dataDir = "/run/enichain"

// patience bounds any one call: much longer than the longest timeout in a configuration.
const patience = 30 * time.Second

func newMachine(t *testing.T, o lab.Options) *machine {
	t.Helper()
	o.Nodes = 1
	l := labtest.Up(t, o)
	m := &machine{Node: l.Nodes[0], lab: l}
	if err := m.InstallCNI(bin.Dir, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	return m
}

// netns makes a container's network namespace, to be removed at the test's end.
func (m *machine) netns(t *testing.T, id string) string {
	t.Helper()
	path, err := m.AddNetns(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.DelNetns(id) }) // the test may have removed it
	return path
}

// conf is a network configuration, or a section of one.
type conf map[string]any

// with returns the configuration with a field set, to which the path leads.
func (c conf) with(value any, path ...string) conf {
	changed := conf{}
	maps.Copy(changed, c)
	if len(path) > 1 {
		inner, _ := changed[path[0]].(conf)
		value = inner.with(value, path[1:]...)
	}
	changed[path[0]] = value
	return changed
}

// static is a network over the two ENIs of the recipes, with addresses that no cloud has to be asked for. Containers are
// on the second one, which is in another subnet than the node's own.
func static() conf {
	return conf{
		"cniVersion": "1.1.0", "name": "enichain", "type": ptpPlugin,
		"ipam": conf{
			"type": ipamPlugin, "cloud": "static", "cooldown": "0s", "timeout": "5s", "firstDeviceIndex": 1,
			"static": conf{"vpcCIDRs": []string{"10.19.0.0/16"}, "enis": []conf{
				{
					"name": "eth0", "primary": true, "subnet": "10.19.0.0/20", "gateway": "10.19.0.1",
					"primaryIP": "10.19.0.22", "addresses": []string{"10.19.0.100"},
				},
				{
					"name": "eth1", "subnet": "10.19.16.0/20", "gateway": "10.19.16.1",
					"primaryIP": "10.19.16.17", "addresses": []string{"10.19.16.100-10.19.16.107"},
				},
			}},
		},
	}
}

// on is a network of a cloud that the lab simulates.
func on(c clouds.Cloud) conf {
	return conf{
		"cniVersion": "1.1.0", "name": "enichain", "type": ptpPlugin,
		"ipam": conf{"type": ipamPlugin, "cloud": c.Name, "cooldown": "0s", "timeout": "10s", "batch": 2},
	}
}

// snat is the network's configuration for eni-snat.
func (c conf) snat() conf {
	return conf{"cniVersion": c["cniVersion"], "name": c["name"], "type": snatPlugin}
}

// call puts together a call of a plugin as a runtime would.
func (m *machine) call(plugin, verb, id string, c conf) chain.Call {
	stdin, err := json.Marshal(c)
	if err != nil {
		panic(err) // the tests' own maps
	}
	env := map[string]string{
		"CNI_COMMAND": verb, "CNI_CONTAINERID": id, "CNI_NETNS": "/run/netns/" + id, "CNI_IFNAME": chain.IfName,
	}
	for _, v := range m.Env() {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	return chain.Call{Plugin: "/opt/cni/bin/" + plugin, Env: env, Stdin: stdin}
}

// run runs a call and holds its output to the protocol: ADD and VERSION print one document, the others nothing; what fails
// exits with a status and prints one error, with a code and a message; nothing panics.
func (m *machine) run(t *testing.T, c chain.Call) *chain.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	o, err := c.Run(ctx, &m.Host)
	if err != nil {
		t.Fatal(err)
	}
	verb, documents := c.Env["CNI_COMMAND"], documents(o.Stdout)
	want := 0
	if o.Status != 0 || verb == "ADD" || verb == "VERSION" {
		want = 1
	}
	if documents != want {
		t.Errorf("%s %s printed %d documents, want %d: %s", verb, c.Plugin, documents, want, o.Stdout)
	}
	if o.Status != 0 && (o.Error == nil || o.Error.Code == 0 || o.Error.Msg == "") || o.Status < 0 {
		t.Errorf("%s %s ended with %d and no CNI error: %s%s", verb, c.Plugin, o.Status, o.Stdout, o.Stderr)
	}
	if o.Error != nil {
		goodError(t, verb, o.Error)
	}
	if bytes.Contains(o.Stderr, []byte("goroutine ")) || bytes.Contains(o.Stdout, []byte("panic")) {
		t.Errorf("%s %s panicked: %s%s", verb, c.Plugin, o.Stdout, o.Stderr)
	}
	return o
}

// goodError holds an error to what runtimes make of it: they show it in one line, and containerd takes a DEL that says
// "not found" or "no such file or directory" for done.
func goodError(t *testing.T, verb string, e *types.Error) {
	t.Helper()
	if containsAny(e.Msg+e.Details, "\n", "%!", "<nil>") {
		t.Errorf("%s: not fit for people: %q, %q", verb, e.Msg, e.Details)
	}
	if verb == "DEL" && containsAny(e.Msg+e.Details, "not found", "no such file or directory") {
		t.Errorf("containerd would take this DEL for done: %q, %q", e.Msg, e.Details)
	}
}

// documents counts the JSON documents of an output; -1 where there is something else.
func documents(out []byte) int {
	for n, d := 0, json.NewDecoder(bytes.NewReader(out)); ; n++ {
		var v any
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF):
			return n
		case err != nil:
			return -1
		}
	}
}

// succeed runs a call that must succeed, and returns what it printed.
func (m *machine) succeed(t *testing.T, c chain.Call) []byte {
	t.Helper()
	o := m.run(t, c)
	if o.Status != 0 {
		t.Fatalf("%s %s of %s: %s%s", c.Env["CNI_COMMAND"], c.Plugin, c.Env["CNI_CONTAINERID"], o.Stdout, o.Stderr)
	}
	return o.Stdout
}

// fail runs a call that must fail with the code, and words in the message.
func (m *machine) fail(t *testing.T, c chain.Call, code uint, words ...string) *types.Error {
	t.Helper()
	o := m.run(t, c)
	if o.Error == nil {
		t.Errorf("%s %s: status %d, want an error with code %d: %s", c.Env["CNI_COMMAND"], c.Plugin, o.Status, code, o.Stdout)
		return &types.Error{}
	}
	if o.Error.Code != code {
		t.Errorf("%s %s: code %d, want %d: %s", c.Env["CNI_COMMAND"], c.Plugin, o.Error.Code, code, o.Error.Msg)
	}
	for _, w := range words {
		if !strings.Contains(o.Error.Msg, w) {
			t.Errorf("%s %s: the message does not say %q: %s", c.Env["CNI_COMMAND"], c.Plugin, w, o.Error.Msg)
		}
	}
	return o.Error
}

// add is eni-ptp's ADD of a container, which must succeed. It returns the result as printed.
func (m *machine) add(t *testing.T, id string, c conf) []byte {
	t.Helper()
	return m.succeed(t, m.call(ptpPlugin, "ADD", id, c))
}

// del is eni-ptp's DEL.
func (m *machine) del(t *testing.T, id string, c conf) {
	t.Helper()
	m.succeed(t, m.call(ptpPlugin, "DEL", id, c))
}

// warm lets the ENIs be prepared and the store be made, so that what a container adds can be told from that.
func (m *machine) warm(t *testing.T, c conf) {
	t.Helper()
	if _, err := m.AddNetns("warm"); err != nil {
		t.Fatal(err)
	}
	m.add(t, "warm", c)
	m.del(t, "warm", c)
	if err := m.DelNetns("warm"); err != nil {
		t.Fatal(err)
	}
}

// state is all that a call may leave behind or take away. Whether a new link has its carrier already is the kernel's affair.
func (m *machine) state(t *testing.T) []string {
	t.Helper()
	s, err := chain.Snapshot(t.Context(), m.Node, dataDir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range s {
		s[i] = steady(s[i])
	}
	return s
}

// steady is what ip prints without what a carrier changes, which comes in the kernel's own time.
func steady(printed string) string {
	return strings.NewReplacer("NO-CARRIER,", "", ",LOWER_UP", "", " state DOWN ", " ", " state UP ", " ", " state LOWERLAYERDOWN ", " ", " linkdown", "").Replace(printed)
}

// unchanged compares the state with what it was.
func (m *machine) unchanged(t *testing.T, before []string) {
	t.Helper()
	if diff := cmp.Diff(before, m.state(t)); diff != "" {
		t.Errorf("left behind or taken away (-before +after):\n%s", diff)
	}
}

// pool returns the store's addresses.
func (m *machine) pool(t *testing.T) map[netip.Addr]store.Address {
	t.Helper()
	pool := map[netip.Addr]store.Address{}
	err := m.Do(func() error {
		return store.At(dataDir).View(context.Background(), func(tx *store.Tx) error {
			all, err := tx.Addresses()
			for _, a := range all {
				pool[a.IP] = a
			}
			return err
		})
	})
	if err != nil && !errors.Is(err, store.ErrNoStore) {
		t.Fatal(err)
	}
	return pool
}

// sh runs a command in a host, such as the machine or one of its containers.
func sh(t *testing.T, h *lab.Host, line string) string {
	t.Helper()
	out, err := h.Output(t.Context(), nil, "sh", "-ec", line)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return string(out)
}

// result reads a printed result of any version.
func result(t *testing.T, printed []byte) *types100.Result {
	t.Helper()
	read, err := create.CreateFromBytes(printed)
	if err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	r, err := types100.NewResultFromResult(read)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// address is the one address of a printed result.
func address(t *testing.T, printed []byte) netip.Addr {
	t.Helper()
	return chain.IP(result(t, printed))
}

// containsAny says whether one of the words is in the text.
func containsAny(text string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}
