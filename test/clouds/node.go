package clouds

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/vpcsim"
)

// Node is an instance of a simulated cloud, in a network namespace where the cloud answers on loopback. It has a store and a
// folder of conflists, and its ENIs no links. A copy of it with other fields is the same instance used differently.
type Node struct {
	*vpcsim.VPC
	Cloud
	Size          Size
	NS            *nstest.NS
	Instance      vpcsim.Instance
	First         []vpcsim.ENI // which it had from the beginning, as they were
	API, Metadata *httptest.Server
	Dir           string         // of conflists, and for whatever else
	DataDir       string         // of the store
	IPAM          map[string]any // the "ipam" section, but for "dataDir"
	Network       string
	Args          string // CNI_ARGS

	t   *testing.T
	bin *chain.Binaries
}

// Up brings up an instance of a size with ENIs in subnets of their own, each of the range given, and of one of IPv6 where
// that stands behind it: "10.0.0.0/24 2001:db8:0:1::/64". The primary ENI has an address of IPv6 then. All goes with the test.
func Up(t *testing.T, bin *chain.Binaries, c Cloud, size Size, subnets ...string) *Node {
	t.Helper()
	config := vpcsim.Config{Cloud: c.Name, Region: Region, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}}
	for i, ranges := range subnets {
		config.Subnets = append(config.Subnets, subnetOf(i, ranges))
		if config.Subnets[i].IPv6.IsValid() {
			config.IPv6 = netip.MustParsePrefix("2001:db8::/56")
		}
	}
	n := &Node{
		VPC: vpcsim.New(config), Cloud: c, Size: size, NS: nstest.New(t), Dir: t.TempDir(), DataDir: memory(t), Network: "net", t: t, bin: bin,
	}
	t.Cleanup(n.Close)
	var err error
	if n.Instance, err = n.AddInstance(size.Type); err != nil {
		t.Fatal(err)
	}
	for i := range subnets {
		eni, err := n.AddENI(n.Instance.ID, fmt.Sprintf("subnet-%d", i), i, netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 && config.Subnets[0].IPv6.IsValid() {
			if _, err := n.AddOwnIPv6(eni.ID); err != nil {
				t.Fatal(err)
			}
		}
		n.First = append(n.First, n.VPC.ENIs(n.Instance.ID)[i])
	}
	api, metadata := c.serve(n.VPC, n.Instance.ID)
	n.API, n.Metadata = n.listen(api), n.listen(metadata)
	n.IPAM = map[string]any{
		"type": "eni-ipam", "cloud": c.Name, "timeout": "30s", "driver": c.DriverConfig(n.API.URL, n.Metadata.URL),
	}
	t.Cleanup(func() {
		if err := n.AwaitEnd(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func subnetOf(number int, ranges string) vpcsim.Subnet {
	four, six, dual := strings.Cut(ranges, " ")
	s := vpcsim.Subnet{ID: fmt.Sprintf("subnet-%d", number), CIDR: netip.MustParsePrefix(four)}
	if dual {
		s.IPv6 = netip.MustParsePrefix(six)
	}
	return s
}

// memory is a folder in memory, which goes with the test.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "enichain-node-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// listen serves on the namespace's loopback.
func (n *Node) listen(h http.Handler) *httptest.Server {
	server := &httptest.Server{Config: &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}}
	n.NS.Do(func() (err error) {
		server.Listener, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	server.Start()
	n.t.Cleanup(server.Close)
	return server
}

// AwaitEnd waits until no program of ours runs in the node: a refill outlives the call that started it.
func (n *Node) AwaitEnd() error { return n.bin.AwaitEndIn(n.NS.Path()) }

// Anew is the same instance with another store: what it does, the node's own does not learn of.
func (n *Node) Anew() *Node {
	other := *n
	other.DataDir = memory(n.t)
	return &other
}

// Section is the "ipam" section with more fields, which go before its own.
func (n *Node) Section(more map[string]any) map[string]any {
	section := maps.Clone(n.IPAM)
	section["dataDir"] = n.DataDir
	maps.Copy(section, more)
	return section
}

// Start starts a program in the node and returns what it printed, and its exit status.
func (n *Node) Start(cmd *exec.Cmd) (stdout, stderr string, status int) {
	n.t.Helper()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	n.NS.Do(cmd.Start)
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		n.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// Call puts together a call of eni-ipam for a container. more are fields of the "ipam" section, and the plugin is run by the
// wrapper's command line where there is one.
func (n *Node) Call(verb, id string, more map[string]any, wrapper ...string) *exec.Cmd {
	n.t.Helper()
	stdin, err := json.Marshal(map[string]any{"cniVersion": "1.1.0", "name": n.Network, "type": "main", "ipam": n.Section(more)})
	if err != nil {
		n.t.Fatal(err)
	}
	line := append(wrapper, n.bin.Path("eni-ipam"))
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = []string{
		"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + id, "CNI_IFNAME=eth0", "CNI_NETNS=" + filepath.Join(n.Dir, "no-such-netns"),
		"CNI_PATH=" + n.bin.Dir, "CNI_NETNS_OVERRIDE=1", "CNI_ARGS=" + cmp.Or(n.Args, "K8S_POD_NAMESPACE=shop;K8S_POD_NAME="+id),
	}
	cmd.Stdin = strings.NewReader(string(stdin))
	return cmd
}

// Run runs a verb of eni-ipam for a container. more are fields of the "ipam" section.
func (n *Node) Run(verb, id string, more map[string]any) (*types100.Result, *types.Error) {
	n.t.Helper()
	stdout, stderr, status := n.Start(n.Call(verb, id, more))
	if status != 0 {
		e := &types.Error{}
		if err := json.Unmarshal([]byte(stdout), e); err != nil {
			n.t.Errorf("%s of %s failed without a CNI error: %s%s", verb, id, stdout, stderr)
		}
		return nil, e
	}
	if verb != "ADD" {
		if stdout != "" {
			n.t.Errorf("%s of %s printed %s", verb, id, stdout)
		}
		return nil, nil
	}
	result := &types100.Result{}
	if err := json.Unmarshal([]byte(stdout), result); err != nil {
		n.t.Error(err)
	}
	return result, nil
}

// Add is ADD, which must succeed; it returns the address.
func (n *Node) Add(id string, more map[string]any) netip.Addr {
	n.t.Helper()
	result, failed := n.Run("ADD", id, more)
	if failed != nil {
		n.t.Fatalf("ADD of %s: %v", id, failed)
	}
	return chain.IP(result)
}

// Del is DEL, which must succeed.
func (n *Node) Del(id string, more map[string]any) {
	n.t.Helper()
	if _, failed := n.Run("DEL", id, more); failed != nil {
		n.t.Fatalf("DEL of %s: %v", id, failed)
	}
}
