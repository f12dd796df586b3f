package machine_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/machine"
)

func on(t *testing.T) *machine.Machine {
	t.Helper()
	l, err := lab.Up(t.Context(), lab.Options{Name: t.Name(), Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	m, err := machine.On(l.Nodes[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Off(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// A program sees the machine's processes and the node's network; its orphans are listed, and end with the machine.
func TestAMachine(t *testing.T) {
	t.Parallel()
	m := on(t)
	out, err := m.Output(t.Context(), nil, "bash", "-c", "cat /proc/1/comm; cat /proc/net/fib_trie; setsid sleep 1000 >/dev/null 2>&1 & mount -t tmpfs x /mnt")
	if err != nil {
		t.Fatal(err)
	}
	if text := string(out); !strings.HasPrefix(text, "bash\n") || !strings.Contains(text, "10.19.0.22") {
		t.Errorf("the program saw %s", text)
	}
	if mounts, err := m.Mounts(); err != nil || !slices.Contains(mounts, "/mnt") {
		t.Errorf("mounts: %q, %v", mounts, err)
	}
	left, err := m.Processes()
	if err != nil || len(left) != 1 || left[0].Args != "sleep 1000" {
		t.Fatalf("the program left %v, %v", left, err)
	}
	watched := exec.Command("sleep", "1000")
	p, err := m.Start(watched)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Off(); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err == nil {
		t.Error("a program outlived the machine")
	}
	if err := m.Off(); err != nil {
		t.Errorf("switched off again: %v", err)
	}
}

// Orphans that ended are gone, and so are control groups when the machine is.
func TestWhatAMachineLeaves(t *testing.T) {
	t.Parallel()
	m := on(t)
	const script = `for dir in /sys/fs/cgroup/pids /sys/fs/cgroup; do
		if mkdir -p $dir$0/child; then exec bash -c '(sleep 0 &)'; fi; done; exit 1`
	if _, err := m.Output(t.Context(), nil, "bash", "-c", script, m.Cgroup); err != nil {
		t.Fatal(err)
	}
	if groups, err := m.Cgroups(); err != nil || len(groups) != 2 {
		t.Errorf("control groups: %q, %v", groups, err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) { // bash reaps it at an unknown moment
		left, err := m.Processes()
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still there: %v", left)
		}
	}
	if err := m.Off(); err != nil {
		t.Fatal(err)
	}
	if groups, err := m.Cgroups(); err != nil || len(groups) != 0 {
		t.Errorf("control groups of a machine that is off: %q, %v", groups, err)
	}
}

// A test that was killed leaves control groups, which the next machine removes.
func TestWhatAKilledTestLeaves(t *testing.T) {
	t.Parallel()
	m := on(t)
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	roots, err := filepath.Glob("/sys/fs/cgroup/pids")
	if err != nil {
		t.Fatal(err)
	}
	top := append(roots, "/sys/fs/cgroup")[0] // of version 1, else 2
	left := fmt.Sprintf("%s/enichain-%d-left/child", top, dead.Process.Pid)
	mine := top + m.Cgroup + "/child"
	for _, dir := range []string{left, mine} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	on(t)
	if _, err := os.Stat(filepath.Dir(left)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a killed test left is still there: %v", err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("what another machine has is gone: %v", err)
	}
}
