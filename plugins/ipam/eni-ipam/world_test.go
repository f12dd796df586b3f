package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/vpcsim"
)

// bin has the built plugin and the driver.
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

// world is a simulated cloud on loopback with one instance, and a data directory in memory.
type world struct {
	*vpcsim.VPC
	instance vpcsim.Instance
	enis     []vpcsim.ENI
	ec2      *httptest.Server
	imds     *httptest.Server
	dataDir  string
	args     string // CNI_ARGS
	network  string // "net" where empty
}

// newWorld is an instance of the type with ENIs in subnets of their own, each of the sizes given.
func newWorld(t *testing.T, instanceType string, subnets ...string) *world {
	t.Helper()
	config := vpcsim.Config{Region: "eu-test-1", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}}
	for i, cidr := range subnets {
		config.Subnets = append(config.Subnets, vpcsim.Subnet{ID: fmt.Sprintf("subnet-%d", i), CIDR: netip.MustParsePrefix(cidr)})
	}
	w := &world{VPC: vpcsim.New(config)}
	t.Cleanup(w.Close)
	var err error
	if w.instance, err = w.AddInstance(instanceType); err != nil {
		t.Fatal(err)
	}
	for i := range subnets {
		eni, err := w.AddENI(w.instance.ID, fmt.Sprintf("subnet-%d", i), i, netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		w.enis = append(w.enis, eni)
	}
	w.ec2, w.imds = httptest.NewServer(w.EC2()), httptest.NewServer(w.IMDSFor(w.instance.ID))
	t.Cleanup(w.ec2.Close)
	t.Cleanup(w.imds.Close)
	if w.dataDir, err = os.MkdirTemp("/dev/shm", "enichain-ipam-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(bin.AwaitEnd(), os.RemoveAll(w.dataDir)); err != nil {
			t.Error(err)
		}
	})
	return w
}

// run runs a verb for a container. more are fields of the "ipam" section, over those that the world needs.
func (w *world) run(t *testing.T, verb, id string, more map[string]any) (*types100.Result, *types.Error) {
	t.Helper()
	ipam := map[string]any{
		"type": "eni-ipam", "cloud": "aws", "dataDir": w.dataDir, "manage": "all",
		"driver": map[string]string{"region": "eu-test-1", "ec2Endpoint": w.ec2.URL, "imdsEndpoint": w.imds.URL},
	}
	for k, v := range more {
		ipam[k] = v
	}
	stdin, err := json.Marshal(map[string]any{"cniVersion": "1.1.0", "name": cmp.Or(w.network, "net"), "type": "main", "ipam": ipam})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin.Path("eni-ipam"))
	cmd.Env = []string{
		"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + id, "CNI_IFNAME=eth0", "CNI_NETNS=" + filepath.Join(w.dataDir, "no-such-netns"),
		"CNI_PATH=" + bin.Dir, "CNI_NETNS_OVERRIDE=1", "CNI_ARGS=" + w.args,
	}
	cmd.Stdin = strings.NewReader(string(stdin))
	stdout, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		e := &types.Error{}
		if err := json.Unmarshal(stdout, e); err != nil {
			t.Fatalf("%s of %s failed without a CNI error: %s%s", verb, id, stdout, exit.Stderr)
		}
		return nil, e
	}
	if err != nil {
		t.Fatal(err)
	}
	if verb != "ADD" {
		if len(stdout) > 0 {
			t.Errorf("%s of %s printed %s", verb, id, stdout)
		}
		return nil, nil
	}
	result := &types100.Result{}
	if err := json.Unmarshal(stdout, result); err != nil {
		t.Fatal(err)
	}
	return result, nil
}

// add is ADD, which must succeed; it returns the address.
func (w *world) add(t *testing.T, id string, more map[string]any) netip.Addr {
	t.Helper()
	result, failed := w.run(t, "ADD", id, more)
	if failed != nil {
		t.Fatalf("ADD of %s: %v", id, failed)
	}
	return chain.IP(result)
}

// agree checks that cloud and store have the same secondary addresses, that no assignment is left open, and returns them.
func (w *world) agree(t *testing.T) []netip.Addr {
	t.Helper()
	assigned := map[netip.Addr]string{}
	for _, e := range w.ENIs(w.instance.ID) {
		for _, ip := range e.Secondary {
			assigned[ip] = e.ID
		}
	}
	var known []netip.Addr
	err := store.At(w.dataDir).View(t.Context(), func(tx *store.Tx) error {
		addresses, err := tx.Addresses()
		if err != nil {
			return err
		}
		for _, a := range addresses {
			if assigned[a.IP] != a.ENI {
				t.Errorf("the store has %s on %s, the cloud on %q", a.IP, a.ENI, assigned[a.IP])
			}
			known = append(known, a.IP)
		}
		intents, err := tx.Intents()
		if len(intents) > 0 {
			t.Errorf("left open: %+v", intents)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(known) != len(assigned) {
		t.Errorf("the cloud has assigned %d addresses, the store knows %d", len(assigned), len(known))
	}
	return known
}
