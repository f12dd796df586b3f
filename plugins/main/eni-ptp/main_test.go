package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/store"
)

// binEnv tells the tests where TestMain put the plugins.
const binEnv = "ENI_PTP_TEST_BIN"

// TestMain builds the plugin, eni-snat and host-local, and lets these tests, built without the race detector, stand in for eni-ipam
// where they are run by that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == netconf.EniIPAM {
		standIn()
		return
	}
	dir, err := os.MkdirTemp("", "eni-ptp-test")
	if err != nil {
		log.Fatal(err)
	}
	code, err := runWith(m, dir)
	if e := os.RemoveAll(dir); err == nil {
		err = e
	}
	if err != nil {
		log.Fatal(err)
	}
	os.Exit(code)
}

func runWith(m *testing.M, dir string) (int, error) {
	for _, build := range []*exec.Cmd{
		exec.Command("go", "build", "-o", dir+"/", ".", "../../meta/eni-snat"),
		exec.Command("go", "test", "-c", "-o", filepath.Join(dir, netconf.EniIPAM), "."),
		exec.Command("go", "-C", "../../../test/outside", "build", "-o", dir+"/", "github.com/containernetworking/plugins/plugins/ipam/host-local"),
	} {
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("%s: %w\n%s", build, err, out)
		}
	}
	if err := os.Setenv(binEnv, dir); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// standIn is an IPAM plugin over a real store. "eni" in its section chooses the ENI, "fail" the verb that fails.
func standIn() {
	verb := func(name string, f func(request, *skel.CmdArgs) error) func(*skel.CmdArgs) error {
		return func(args *skel.CmdArgs) error {
			var r request
			if err := json.Unmarshal(args.StdinData, &r); err != nil {
				return err
			}
			if r.IPAM.Fail == name {
				return types.NewError(types.ErrTryAgainLater, "the stand-in was told to fail", "this is its hint")
			}
			return f(r, args)
		}
	}
	skel.PluginMainFuncs(skel.CNIFuncs{
		Add:    verb("ADD", standInAdd),
		Del:    verb("DEL", standInDel),
		Check:  verb("CHECK", func(request, *skel.CmdArgs) error { return nil }),
		GC:     verb("GC", standInGC),
		Status: verb("STATUS", func(request, *skel.CmdArgs) error { return nil }),
	}, version.VersionsStartingFrom("0.3.0"), "stand-in")
}

type request struct {
	types.NetConf
	IPAM struct {
		DataDir string `json:"dataDir"`
		ENI     string `json:"eni"`
		Fail    string `json:"fail"`
		Address string `json:"address"` // given whatever the store says
		Second  string `json:"second"`  // given beside it
		Wait    string `json:"wait"`    // a FIFO, from which a byte is read before an address is taken
		Die     bool   `json:"die"`     // once the address is taken, without a word
		Garble  bool   `json:"garble"`  // the result
	} `json:"ipam"`
}

func (r request) owner(args *skel.CmdArgs) store.Owner {
	return store.Owner{Network: r.Name, ContainerID: args.ContainerID, IfName: args.IfName}
}

func standInAdd(r request, args *skel.CmdArgs) error {
	ip := r.IPAM.Address
	if r.IPAM.Wait != "" {
		if _, err := os.ReadFile(r.IPAM.Wait); err != nil {
			return err
		}
	}
	if ip == "" {
		err := store.At(r.IPAM.DataDir).Update(context.Background(), func(tx *store.Tx) error {
			a, err := tx.Take(r.owner(args), store.Sandbox{Netns: args.Netns}, family.IPv4, func(e store.ENI) int {
				if e.ID == r.IPAM.ENI {
					return 0
				}
				return -1
			})
			ip = a.IP.String()
			return err
		})
		if err != nil {
			return err
		}
	}
	if r.IPAM.Die {
		if err := unix.Kill(os.Getpid(), unix.SIGKILL); err != nil {
			return err
		}
	}
	if r.IPAM.Garble {
		fmt.Println("garbage")
		return nil
	}
	result := &types100.Result{CNIVersion: types100.ImplementedSpecVersion, DNS: types.DNS{Nameservers: []string{"10.19.0.2"}}}
	for _, given := range []string{ip, r.IPAM.Second} {
		if given != "" {
			result.IPs = append(result.IPs, &types100.IPConfig{Address: netconf.IPNet(layout.Host(netip.MustParseAddr(given)))})
		}
	}
	return types.PrintResult(result, r.CNIVersion)
}

func standInDel(r request, args *skel.CmdArgs) error {
	err := store.At(r.IPAM.DataDir).UpdateExisting(context.Background(), func(tx *store.Tx) error {
		_, err := tx.Release(r.owner(args), 0)
		return err
	})
	if errors.Is(err, store.ErrNoStore) {
		return nil
	}
	return err
}

func standInGC(r request, args *skel.CmdArgs) error {
	valid, given, err := netconf.ValidAttachments(args.StdinData)
	if err != nil || !given {
		return err
	}
	return store.At(r.IPAM.DataDir).UpdateExisting(context.Background(), func(tx *store.Tx) error {
		owned, err := tx.OwnedIn(r.Name)
		if err != nil {
			return err
		}
		for _, a := range owned {
			if !valid[netconf.Attachment{ContainerID: a.Owner.ContainerID, IfName: a.Owner.IfName}] {
				if _, err := tx.Release(*a.Owner, 0); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// plugin is one call of the built binary.
type plugin struct {
	verb   string
	id     string
	netns  string
	ifName string
	args   string
	conf   map[string]any
	stdin  []byte // instead of conf
	path   string // CNI_PATH, where it is not that of all plugins
}

// run calls the plugin in the namespace and returns its stdout, or the error that it printed there.
func run(t testing.TB, ns *nstest.NS, p plugin) ([]byte, *types.Error) {
	t.Helper()
	stdin := p.stdin
	if stdin == nil {
		var err error
		if stdin, err = json.Marshal(p.conf); err != nil {
			t.Fatal(err)
		}
	}
	if p.ifName == "" {
		p.ifName = "eth0"
	}
	bin := os.Getenv(binEnv)
	cmd := exec.Command(filepath.Join(bin, "eni-ptp"))
	cmd.Env = []string{
		"CNI_COMMAND=" + p.verb, "CNI_CONTAINERID=" + p.id, "CNI_NETNS=" + p.netns, "CNI_IFNAME=" + p.ifName,
		"CNI_PATH=" + cmp.Or(p.path, bin), "CNI_ARGS=" + p.args, "PATH=" + os.Getenv("PATH"),
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	var err error
	ns.Do(func() error { err = cmd.Run(); return nil })
	if err == nil {
		return stdout.Bytes(), nil
	}
	failure := &types.Error{}
	if e := json.Unmarshal(stdout.Bytes(), failure); e != nil {
		t.Fatalf("%s: %v; neither a result nor an error on stdout: %q, stderr %q", p.verb, err, stdout.Bytes(), stderr.Bytes())
	}
	return nil, failure
}

// succeed is run for a call that must succeed.
func succeed(t testing.TB, ns *nstest.NS, p plugin) []byte {
	t.Helper()
	out, err := run(t, ns, p)
	if err != nil {
		t.Fatalf("%s of %s: code %d: %s; %s", p.verb, p.id, err.Code, err.Msg, err.Details)
	}
	return out
}

// add runs ADD and returns its result.
func add(t testing.TB, ns *nstest.NS, p plugin) *types100.Result {
	t.Helper()
	p.verb = "ADD"
	return parse(t, succeed(t, ns, p))
}

func parse(t testing.TB, out []byte) *types100.Result {
	t.Helper()
	result, err := create.CreateFromBytes(out)
	if err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	r, err := types100.NewResultFromResult(result)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// with returns a copy of the configuration with some keys set, or taken out where nil.
func with(conf map[string]any, keys map[string]any) map[string]any {
	out := make(map[string]any)
	for k, v := range conf {
		out[k] = v
	}
	for k, v := range keys {
		out[k] = v
		if v == nil {
			delete(out, k)
		}
	}
	return out
}
