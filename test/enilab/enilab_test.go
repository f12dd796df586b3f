package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

const patience = 10 * time.Second

// actVariable makes this test binary be enilab.
const actVariable = "ENICHAIN_TEST_ACT_AS_ENILAB"

func TestMain(m *testing.M) {
	if os.Getenv(actVariable) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// tool is enilab with one lab's name; the lab is down at the test's end.
type tool struct{ name string }

func newTool(t *testing.T) tool {
	t.Helper()
	tt := tool{fmt.Sprintf("test-%d-%x", os.Getpid(), time.Now().UnixNano()&0xffffff)}
	t.Cleanup(func() { tt.must(t, "down") })
	return tt
}

// command is `enilab COMMAND -name NAME ARGS...`.
func (tt tool) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, append([]string{args[0], "-name", tt.name}, args[1:]...)...)
	cmd.Env = append(os.Environ(), actVariable+"=1", "GORACE=atexit_sleep_ms=0") // which is else a second a command
	return cmd
}

func (tt tool) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := tt.command(t, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("enilab %s: %w: %s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return string(out), err
}

func (tt tool) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tt.run(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fails says that a command fails, and that it says why.
func (tt tool) fails(t *testing.T, why string, args ...string) {
	t.Helper()
	if out, err := tt.run(t, args...); err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("enilab %s: printed %q with %v, want an error that says %q", strings.Join(args, " "), out, err, why)
	}
}

func (tt tool) view(t *testing.T) labView {
	t.Helper()
	var v labView
	if err := json.Unmarshal([]byte(tt.must(t, "show", "-json")), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (tt tool) open(t *testing.T, name string) *lab.Host {
	t.Helper()
	h, _, err := tt.view(t).open(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestLifeOfALab(t *testing.T) {
	tt := newTool(t)
	if out := tt.must(t, "up", "-nodes", "1"); !strings.Contains(out, "10.19.16.17") {
		t.Errorf("up printed %s", out)
	}
	pid := tt.view(t).PID
	tt.fails(t, fmt.Sprintf("lab %s is already up, held by process %d", tt.name, pid), "up")
	var listed bytes.Buffer
	if err := list(nil, &listed); err != nil || !strings.Contains(listed.String(), tt.name) {
		t.Errorf("list: %v: %s", err, &listed)
	}
	if out := tt.must(t, "exec", "node1", "--", "sh", "-c", "echo $CNI_PATH; ls /sys/class/net"); out != "/opt/cni/bin\neth0\neth1\neth2\nlo\n" {
		t.Errorf("exec printed %q", out)
	}
	if out := tt.must(t, "env", "node1"); !strings.Contains(out, "export CNI_PATH='/opt/cni/bin'\n") {
		t.Errorf("env printed %q", out)
	}
	tt.fails(t, "it has node1, vpc, internet", "exec", "node2", "true")
	if out := tt.must(t, "down"); out != "lab "+tt.name+" is down\n" {
		t.Errorf("down printed %q", out)
	}
	if err := syscall.Kill(pid, 0); err == nil && !isZombie(pid) {
		t.Errorf("the holder, process %d, is still there", pid)
	}
	if _, err := os.Stat(filepath.Join(stateDir, tt.name)); !os.IsNotExist(err) {
		t.Errorf("the lab's folder: %v", err)
	}
	if out := tt.must(t, "down"); out != "lab "+tt.name+" is not up\n" {
		t.Errorf("the second down printed %q", out)
	}
}

// isZombie says that a process has ended and that only its parent has not asked for its status yet.
func isZombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && bytes.Contains(b, []byte(") Z "))
}

func TestExecKeepsTheFolderAndTheStatus(t *testing.T) {
	tt := newTool(t)
	tt.must(t, "up", "-nodes", "1")
	cmd := tt.command(t, "exec", "internet", "sh", "-c", "pwd; exit 7")
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 7 || string(out) != cmd.Dir+"\n" {
		t.Errorf("printed %q, %v", out, err)
	}
	tt.fails(t, "no-such-program", "exec", "node1", "no-such-program")
}

func TestContainers(t *testing.T) {
	tt := newTool(t)
	tt.must(t, "up", "-nodes", "1")
	if out := tt.must(t, "netns", "node1", "add", "c1"); out != "/run/netns/c1\n" {
		t.Errorf("netns add printed %q", out)
	}
	tt.fails(t, "c1", "netns", "node1", "add", "c1")
	tt.fails(t, "node2", "netns", "node2", "add", "c1")
	if out := tt.must(t, "exec", "node1/c1", "ls", "/run/netns"); out != "c1\n" {
		t.Errorf("in the container: %q", out)
	}
	tt.must(t, "netns", "node1", "del", "c1")
	tt.fails(t, "c1", "exec", "node1/c1", "true")
	tt.fails(t, "c1", "netns", "node1", "del", "c1")
}

func TestPluginsAreInstalled(t *testing.T) {
	tt := newTool(t)
	folder := t.TempDir()
	for file, text := range map[string]string{"eni-ptp": "#!/bin/sh\necho a plugin\n", "x.conflist": "{}\n"} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	tt.fails(t, "needed together", "up", "-bin", folder, "-conflist", "")
	tt.must(t, "up", "-bin", folder, "-conflist", filepath.Join(folder, "x.conflist"))
	if out := tt.must(t, "exec", "node2", "sh", "-c", "eni-ptp; cat $NETCONFPATH/*"); out != "a plugin\n{}\n" {
		t.Errorf("node2 has %q", out)
	}
}

func TestAFailedUpLeavesNothing(t *testing.T) {
	tt := newTool(t)
	tt.fails(t, "99 nodes; 1 to 50 are possible", "up", "-nodes", "99")
	tt.fails(t, "\"azure\" is not simulated", "up", "-cloud", "azure")
	if _, err := os.Stat(filepath.Join(stateDir, tt.name)); !os.IsNotExist(err) {
		t.Errorf("the lab's folder: %v", err)
	}
	tt.must(t, "up", "-nodes", "1")
}

func TestAKilledHolderIsNoObstacle(t *testing.T) {
	tt := newTool(t)
	for range 2 { // the second lab comes up over what the first left
		tt.must(t, "up", "-nodes", "1")
		tt.kill(t)
		tt.fails(t, "is not up; enilab up", "show")
	}
	tt.must(t, "down")
	if _, err := os.Stat(filepath.Join(stateDir, tt.name)); !os.IsNotExist(err) {
		t.Errorf("the lab's folder: %v", err)
	}
}

// kill ends the holder as kill -9 does.
func (tt tool) kill(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(tt.view(t).PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	tt.awaitEnd(t)
}

// awaitEnd waits for the holder's end.
func (tt tool) awaitEnd(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := state(tt).free(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestATerminatedHolderCleansUp(t *testing.T) {
	tt := newTool(t)
	tt.must(t, "up", "-nodes", "1")
	if err := syscall.Kill(tt.view(t).PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	tt.awaitEnd(t)
	if _, err := os.Stat(filepath.Join(stateDir, tt.name)); !os.IsNotExist(err) {
		t.Errorf("the lab's folder: %v", err)
	}
}

func TestTwoLabs(t *testing.T) {
	one, two := newTool(t), newTool(t)
	one.must(t, "up", "-nodes", "1")
	two.must(t, "up", "-nodes", "3")
	one.must(t, "down")
	if got := len(two.view(t).Hosts); got != 5 {
		t.Errorf("the other lab has %d hosts", got)
	}
}

// ping sends an echo request from a host of the lab.
func (tt tool) ping(t *testing.T, from, to string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := tt.open(t, from).Do(func() error {
		_, err := probe.Ping(ctx, netip.MustParseAddr(to), probe.From{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestIPv6(t *testing.T) {
	tt := newTool(t)
	out := strings.Join(strings.Fields(tt.must(t, "up", "-ipv6", "-conflist", "", "-bin", "")), " ")
	for _, want := range []string{" 2001:db8:19:a::11 2001:db8:19:a::/64 ", " - 2001:db8:19:b::/64 ", " 2001:db8:100::10 2001:db8:100::/64 "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in %s", want, out)
		}
	}
	v := tt.view(t)
	tt.ping(t, "node1", v.Hosts[1].ENIs[0].Primary6.String())
	tt.ping(t, "internet", v.Hosts[1].ENIs[0].Primary6.String())
	tt.fails(t, "no secondary address", "meddle", "remove", v.Hosts[0].ENIs[0].Primary6.String())
}

func TestPcap(t *testing.T) {
	tt := newTool(t)
	tt.must(t, "up")
	file := filepath.Join(t.TempDir(), "x.pcap")
	lines := tt.command(t, "pcap", "node2", "-i", "eth0")
	records := tt.command(t, "pcap", "node1", "-c", "1", "-w", file)
	var printed bytes.Buffer
	lines.Stdout = &printed
	for _, cmd := range []*exec.Cmd{lines, records} {
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(stderr).ReadString('\n'); err != nil || !strings.HasPrefix(line, "capturing in node") {
			t.Fatalf("%q, %v", line, err)
		}
	}
	tt.ping(t, "node1", "10.19.0.11")
	if err := records.Wait(); err != nil { // it ends by itself, at the first packet
		t.Error(err)
	}
	if b, err := os.ReadFile(file); err != nil || len(b) < 24+16 || !bytes.HasPrefix(b, []byte{0x4d, 0x3c, 0xb2, 0xa1}) {
		t.Errorf("the file has %d bytes: %v", len(b), err)
	}
	if err := lines.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := lines.Wait(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"in  10.19.0.22 > 10.19.0.11 icmp echo request", "out 10.19.0.11 > 10.19.0.22 icmp echo reply"} {
		if !strings.Contains(printed.String(), want) {
			t.Errorf("%q is not in\n%s", want, &printed)
		}
	}
}

func TestInject(t *testing.T) {
	tt := newTool(t)
	tt.must(t, "up", "-nodes", "1")
	transport := &http.Transport{DialContext: tt.open(t, "node1").DialContext, DisableKeepAlives: true}
	token := func() int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://169.254.169.254/latest/api/token", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-aws-ec2-metadata-token-ttl-seconds", "60")
		response, err := (&http.Client{Transport: transport, Timeout: patience}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close() // only the status matters
		return response.StatusCode
	}
	tt.must(t, "inject", "-action", "IMDSToken", "-status", "503")
	if first, second := token(), token(); first != 503 || second != 200 {
		t.Errorf("one fault: status %d, then %d", first, second)
	}
	tt.must(t, "inject", "-action", "IMDSToken", "-status", "503", "-times", "-1")
	if first, second := token(), token(); first != 503 || second != 503 {
		t.Errorf("a lasting fault: status %d, then %d", first, second)
	}
	tt.must(t, "inject", "-clear")
	if status := token(); status != 200 {
		t.Errorf("after -clear: status %d", status)
	}
	tt.must(t, "inject", "-stale", "on")
	tt.must(t, "inject", "-stale", "off")
}

func TestTroubleAndMeddling(t *testing.T) {
	tt := newTool(t)
	tt.must(t, "up", "-nodes", "1", "-enis", "2", "-hotplug", "ens%d")
	tt.must(t, "inject", "-rate", "0.001", "-burst", "1", "-action", "DescribeNetworkInterfaces")
	tt.must(t, "inject", "-attach-delay", "1h", "-link-delay", "1h", "-lag", "1h", "-quota", "2")
	tt.must(t, "inject", "-fill", "subnet-a", "-left", "3")
	tt.must(t, "inject", "-fragment", "subnet-b")
	tt.fails(t, "does not exist", "inject", "-fill", "subnet-z")
	tt.fails(t, "inject needs", "inject", "-left", "3")
	tt.fails(t, "on or off", "inject", "-stale", "maybe")
	tt.must(t, "inject", "-clear")
	eth1 := tt.view(t).Hosts[0].ENIs[1]
	tt.fails(t, "cannot be detached", "meddle", "detach", tt.view(t).Hosts[0].ENIs[0].ID)
	tt.fails(t, "no secondary address", "meddle", "remove", "10.19.0.77")
	tt.fails(t, "none of remove", "meddle", "paint", "node1")
	tt.fails(t, "meddle needs", "meddle", "detach")
	tt.must(t, "meddle", "detach", eth1.ID)
	if v := tt.view(t); len(v.Hosts[0].ENIs) != 1 || len(v.Loose) != 1 || v.Loose[0].ID != eth1.ID || v.Loose[0].State != "available" {
		t.Errorf("after the ENI was detached: %+v", v)
	}
	if out := tt.must(t, "show"); !strings.Contains(out, "(available)") {
		t.Errorf("show printed %s", out)
	}
	tt.must(t, "meddle", "delete", eth1.ID)
	tt.must(t, "meddle", "terminate", "node1")
	if v := tt.view(t); len(v.Hosts[0].ENIs) != 0 || len(v.Loose) != 0 {
		t.Errorf("after the node was terminated: %+v", v)
	}
}
