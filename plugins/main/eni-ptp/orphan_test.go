package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/netstate/nstest"
)

// A runtime whose patience is over kills the plugin, calls DEL, and forgets the container. IPAM, which waits for the cloud
// then, must not outlive that and take an address which nobody will ever release.
func TestIPAMDiesWithAKilledADD(t *testing.T) {
	n := prepared(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	conf := n.conf("eni-1")
	conf["ipam"].(map[string]any)["wait"] = fifo
	stdin, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	bin, netns := os.Getenv(binEnv), nstest.New(t).Path()
	cmd := exec.Command(filepath.Join(bin, "eni-ptp"))
	cmd.Env = []string{
		"CNI_COMMAND=ADD", "CNI_CONTAINERID=a", "CNI_NETNS=" + netns, "CNI_IFNAME=eth0", "CNI_PATH=" + bin,
	}
	cmd.Stdin = bytes.NewReader(stdin)
	n.Do(func() error { return cmd.Start() })
	answer, err := os.OpenFile(fifo, os.O_WRONLY, 0) // returns when IPAM has opened the other end
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	succeed(t, n.NS, plugin{verb: "DEL", id: "a", netns: netns, conf: n.conf("eni-1")})
	_ = answer.Close() // the cloud's answer
	waitForNoReader(t, fifo)
	if owned := n.owned(t); len(owned) > 0 {
		t.Errorf("after the DEL IPAM took an address: %v", owned)
	}
}

// waitForNoReader waits until nobody reads from the FIFO.
func waitForNoReader(t *testing.T, fifo string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		file, err := os.OpenFile(fifo, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if errors.Is(err, unix.ENXIO) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		if time.Now().After(end) {
			t.Fatal("IPAM still waits")
		}
	}
}

// An IPAM plugin that is killed, as by the kernel for want of memory, may have taken an address: CRI-O calls no DEL after a
// failed ADD.
func TestAnAddressOfAnIPAMThatDiedIsGivenBack(t *testing.T) {
	n := prepared(t)
	conf := n.conf("eni-1")
	conf["ipam"].(map[string]any)["die"] = true
	if _, err := run(t, n.NS, plugin{verb: "ADD", id: "a", netns: nstest.New(t).Path(), conf: conf}); err == nil {
		t.Error("an ADD without an answer of IPAM succeeded")
	}
	if owned := n.owned(t); len(owned) > 0 {
		t.Errorf("left in the store: %v", owned)
	}
}

// A container that lives keeps its address when its ADD is repeated and IPAM fails, however it does.
func TestALiveContainerKeepsItsAddressWhenIPAMDies(t *testing.T) {
	n := prepared(t)
	netns := nstest.New(t).Path()
	add(t, n.NS, plugin{id: "a", netns: netns, conf: n.conf("eni-1")})
	before := n.owned(t)
	for _, trouble := range []string{"die", "garble"} {
		conf := n.conf("eni-1")
		conf["ipam"].(map[string]any)[trouble] = true
		if _, err := run(t, n.NS, plugin{verb: "ADD", id: "a", netns: netns, conf: conf}); err == nil {
			t.Errorf("an ADD succeeded though IPAM was told to %s", trouble)
		}
	}
	if owned := n.owned(t); len(owned) != 1 || owned[0] != before[0] {
		t.Errorf("the store has %v, want %v: its address could be another's", owned, before)
	}
	succeed(t, n.NS, plugin{verb: "DEL", id: "a", netns: netns, conf: n.conf("eni-1")})
}
