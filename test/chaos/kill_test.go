package chaos

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/vpcsim"
)

var (
	stride = flag.Int("stride", 8, "of how many steps of a process one is its last")
	kills  = flag.Int("kills", 40, "how many calls there are on each cloud that may be killed at any time")
)

// bin has the built plugin and the driver.
var bin *chain.Binaries

func TestMain(m *testing.M) {
	flag.Parse()
	if *here {
		os.Exit(m.Run())
	}
	chain.MainWith(m, &bin, buildWallJumps)
}

// process is a run of eni-ipam; a verb of CNI, or "refill".
func (w *world) process(t *testing.T, verb, id string, conf map[string]any, wrapper ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	stdin, err := json.Marshal(map[string]any{"cniVersion": "1.1.0", "name": network, "type": "main", "ipam": w.ipam(conf)})
	if err != nil {
		t.Fatal(err)
	}
	line := append(wrapper, bin.Path("eni-ipam"))
	env := []string{"CNI_PATH=" + bin.Dir}
	if verb == "refill" {
		line = append(line, verb)
	} else {
		env = append(env, "CNI_COMMAND="+verb, "CNI_CONTAINERID="+id, "CNI_IFNAME=eth0", "CNI_NETNS_OVERRIDE=1",
			"CNI_NETNS="+filepath.Join(w.dataDir, "no-such-netns"))
	}
	cmd, stdout := exec.Command(line[0], line[1:]...), &bytes.Buffer{}
	cmd.Env, cmd.Stdin, cmd.Stdout = env, bytes.NewReader(stdin), stdout
	return cmd, stdout
}

// with returns a configuration with more.
func with(conf, more map[string]any) map[string]any {
	both := maps.Clone(conf)
	maps.Copy(both, more)
	return both
}

// traced are the system calls by which a process changes something, or has others do so. strace counts each by itself, and
// in each thread.
var traced = []string{"pwrite64", "fdatasync", "flock", "execve", "connect", "write"}

// refillOf is a refill that has something to do.
type refillOf struct {
	conf      map[string]any
	adds      int // containers before
	stay      bool
	enis, max int // ENIs, and the most free addresses, after
}

// still is a pool that does nothing by itself.
var still = map[string]any{"batch": 1, "cooldown": "0s", "eniIdle": "0s"}

// TestKilledRefill kills a refill at one after the other of its steps. Whoever comes next settles what it left.
func TestKilledRefill(t *testing.T) {
	drain := map[string]any{"warm": map[string]int{"max": 1}}
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		for name, r := range map[string]refillOf{
			"creates an ENI":     {map[string]any{"warm": map[string]int{"min": 2, "target": 2}}, 5, true, 2, 2},
			"releases addresses": {drain, 4, false, 1, 1},
			"deletes an ENI":     {drain, 6, false, 1, 1},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				killed := 0
				for _, call := range traced {
					for at := 1 + rand.IntN(*stride); r.killed(t, c, call, at); at += *stride {
						killed++
					}
				}
				if killed == 0 {
					t.Error("nothing was killed, so this has shown nothing")
				}
				t.Logf("killed %d times", killed)
			})
		}
	})
}

// killed has the refill killed when it makes a system call for the nth time, and looks what becomes of the pool. It says
// whether the refill, or its driver, died.
func (r refillOf) killed(t *testing.T, c clouds.Cloud, call string, at int) bool {
	t.Helper()
	conf := with(still, map[string]any{"families": families()[rand.IntN(2)]})
	n := newNode(newWorld(t, c, c.Small, conf, "10.0.0.0/24"), nil)
	for i := range r.adds {
		if err := n.add(t, fmt.Sprint("c", i), netip.Addr{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < r.adds && !r.stay; i++ {
		n.del(t, fmt.Sprint("c", i))
	}
	dead := n.killAt(t, call, at, with(conf, r.conf))
	n.conf = n.configuration(t, with(conf, r.conf))
	n.settle(t)
	n.agree(t)
	free, free6 := -len(n.live), -len(n.live)
	for _, e := range n.AllENIs() {
		free += len(e.Secondary)
		free6 += len(e.IPv6) // AWS has them in prefixes
	}
	if enis := n.AllENIs(); len(enis) != r.enis || free > r.max || free6 > r.max {
		t.Errorf("%d ENIs with %d and %d free addresses, want %d with %d at the most", len(enis), free, free6, r.enis, r.max)
	}
	if t.Failed() {
		t.Fatalf("families %v, after a kill at %s %d; then:\n%s", n.conf.Families, call, at, strings.Join(n.trail, "\n"))
	}
	return dead
}

// killAt runs a refill that dies, or whose driver does, when it makes the call for the nth time, and says whether so.
func (n *node) killAt(t *testing.T, call string, at int, conf map[string]any) bool {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd, _ := n.process(t, "refill", "", conf, "/usr/bin/strace", "-f", "-q", "-o", trace, "-e", "trace="+call, "-e",
		fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, at))
	err := cmd.Run()
	content, readErr := os.ReadFile(trace)
	if readErr != nil {
		t.Fatalf("strace: %v, %v", err, readErr)
	}
	return bytes.Contains(content, []byte("killed by SIGKILL"))
}

// TestKilledAtAnyTime runs processes that are killed, or not, after some time, while time passes and the wall clock jumps.
func TestKilledAtAnyTime(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) { killedAtAnyTime(t, c, seeds(1)[0]) })
}

func killedAtAnyTime(t *testing.T, c clouds.Cloud, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	conf := map[string]any{"batch": 2, "cooldown": "30s", "eniIdle": "0s", "timeout": "10s", "families": pick(r, families()...)}
	n := newNode(newWorld(t, c, pick(r, sizes(c)...), conf, "10.0.0.0/24"), r)
	for range *kills {
		n.callAndKill(t, conf)
		if n.r.IntN(4) == 0 {
			n.pass(pick(n.r, 10*time.Second, 31*time.Second, 5*time.Minute))
		}
		if n.r.IntN(30) == 0 {
			n.reboot(t)
		}
		if n.r.IntN(15) == 0 {
			n.Inject(vpcsim.Fault{Action: pick(n.r, changes(n.Cloud)...), AfterEffect: true})
		}
		n.checkIndexes(t, n.check(t))
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, strings.Join(n.trail, "\n"))
		}
	}
	n.end(t)
	if t.Failed() {
		t.Fatalf("seed %d:\n%s", seed, strings.Join(n.lastOf(60), "\n"))
	}
}

// callAndKill is one process.
func (n *node) callAndKill(t *testing.T, conf map[string]any) {
	t.Helper()
	verb, id := pick(n.r, "ADD", "ADD", "ADD", "DEL", "DEL", "refill"), n.newID()
	switch all := n.known(); {
	case verb == "DEL" && len(all) > 0:
		id = pick(n.r, all...)
	case verb == "refill":
		conf = with(conf, map[string]any{"warm": pick(n.r, map[string]int{"min": 3, "target": 4}, map[string]int{"max": 1})})
	}
	began := n.now()
	cmd, stdout := n.process(t, verb, id, conf)
	n.jump(cmd, pick(n.r, walls()...))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dead := make(chan struct{})
	if n.r.IntN(2) == 0 {
		timer := time.AfterFunc(time.Duration(n.r.IntN(120))*time.Millisecond, func() {
			_ = cmd.Process.Kill() // it may have ended
			close(dead)
		})
		defer func() {
			if !timer.Stop() {
				<-dead
			}
		}()
	}
	err := cmd.Wait()
	n.did("%s %s: %v %s", verb, id, err, stdout)
	switch {
	case verb == "ADD" && err == nil:
		n.answered(t, id, stdout.Bytes())
	case verb == "ADD":
		n.failed(id)
	case verb == "DEL" && err == nil:
		n.gone(id, began)
	case verb == "DEL":
		n.ended(id, began)
		n.unsure[id] = true
	}
}

// answered notes an ADD's answer.
func (n *node) answered(t *testing.T, id string, stdout []byte) {
	t.Helper()
	result := &types100.Result{}
	if err := json.Unmarshal(stdout, result); err != nil {
		t.Fatalf("ADD of %s printed %s: %v", id, stdout, err)
	}
	n.granted(t, id, chain.IPs(result), n.conf)
}
