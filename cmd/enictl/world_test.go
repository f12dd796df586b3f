package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/vpcsim"
)

// bin has the built programs.
var bin *chain.Binaries

func TestMain(m *testing.M) {
	var err error
	if bin, err = chain.Build(false); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	if err := bin.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// world is a simulated cloud on the loopback of a namespace, with one instance, whose conflist and store are in a folder.
type world struct {
	*vpcsim.VPC
	t        *testing.T
	ns       *nstest.NS
	instance vpcsim.Instance
	dir      string
	ipam     map[string]any // the section
}

// newWorld is an instance of the type with its primary ENI. more are fields of the "ipam" section.
func newWorld(t *testing.T, instanceType string, more map[string]any) *world {
	t.Helper()
	w := &world{t: t, ns: nstest.New(t), dir: t.TempDir()}
	w.VPC = vpcsim.New(vpcsim.Config{
		Region: "eu-test-1", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
		Subnets: []vpcsim.Subnet{{ID: "subnet-0", CIDR: netip.MustParsePrefix("10.0.0.0/24")}},
	})
	t.Cleanup(w.Close)
	var err error
	if w.instance, err = w.AddInstance(instanceType); err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddENI(w.instance.ID, "subnet-0", 0, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	ec2, imds := w.serve(w.EC2()), w.serve(w.IMDSFor(w.instance.ID))
	w.ipam = map[string]any{
		"type": "eni-ipam", "cloud": "aws", "dataDir": filepath.Join(w.dir, "data"), "timeout": "30s",
		"driver": map[string]string{"region": "eu-test-1", "ec2Endpoint": ec2.URL, "imdsEndpoint": imds.URL},
	}
	for k, v := range more {
		w.ipam[k] = v
	}
	w.write("10-test.conflist", w.conflist())
	return w
}

// serve answers on the namespace's loopback.
func (w *world) serve(h http.Handler) *httptest.Server {
	server := &httptest.Server{Config: &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}}
	w.ns.Do(func() (err error) {
		server.Listener, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	server.Start()
	w.t.Cleanup(server.Close)
	return server
}

// conflist is the network's configuration.
func (w *world) conflist() map[string]any {
	return map[string]any{
		"cniVersion": "1.0.0", "cniVersions": []string{"0.4.0", "1.0.0", "1.1.0"}, "name": "net",
		"plugins": []any{map[string]any{"type": "eni-ptp", "ipam": w.ipam}},
	}
}

// write puts a file into the world's folder, where enictl looks for conflists.
func (w *world) write(name string, content any) string {
	w.t.Helper()
	data, err := json.MarshalIndent(content, "", "  ")
	path := filepath.Join(w.dir, name)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return path
}

// start runs a command in the world's namespace.
func (w *world) start(cmd *exec.Cmd) (stdout, stderr string, status int) {
	w.t.Helper()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	w.ns.Do(cmd.Start)
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// command is a call of enictl.
func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(bin.Path("enictl"), args...)
	cmd.Env = []string{"NETCONFPATH=" + w.dir, "CNI_PATH=" + bin.Dir, "TMPDIR=" + w.dir}
	return cmd
}

// ctl runs enictl; it must end with the status.
func (w *world) ctl(status int, args ...string) string {
	w.t.Helper()
	stdout, stderr, got := w.start(w.command(args...))
	if got != status {
		w.t.Fatalf("enictl %s ends with %d, not %d:\n%s%s", strings.Join(args, " "), got, status, stdout, stderr)
	}
	return stdout + stderr
}

// ipamCall runs a verb of eni-ipam for a container, which must succeed.
func (w *world) ipamCall(verb, id string) string {
	w.t.Helper()
	stdin, err := json.Marshal(map[string]any{"cniVersion": "1.0.0", "name": "net", "type": "eni-ptp", "ipam": w.ipam})
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(bin.Path("eni-ipam"))
	cmd.Stdin = strings.NewReader(string(stdin))
	cmd.Env = []string{
		"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + id, "CNI_IFNAME=eth0", "CNI_NETNS=" + filepath.Join(w.dir, "no-such-netns"),
		"CNI_PATH=" + bin.Dir, "CNI_NETNS_OVERRIDE=1", "CNI_ARGS=K8S_POD_NAMESPACE=shop;K8S_POD_NAME=" + id,
	}
	stdout, stderr, status := w.start(cmd)
	if status != 0 {
		w.t.Fatalf("%s of %s: %s%s", verb, id, stdout, stderr)
	}
	return stdout
}

// add gives a container an address.
func (w *world) add(id string) netip.Addr {
	w.t.Helper()
	result := &types100.Result{}
	if err := json.Unmarshal([]byte(w.ipamCall("ADD", id)), result); err != nil {
		w.t.Fatal(err)
	}
	return chain.IP(result)
}

// store is the node's store.
func (w *world) store() *store.Store { return store.At(w.ipam["dataDir"].(string)) }

// snapshot reads it.
func (w *world) snapshot() *snapshot {
	w.t.Helper()
	s, err := look(w.t.Context(), w.store())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// has checks that a text has all the words.
func has(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%q is not in:\n%s", word, text)
		}
	}
}
