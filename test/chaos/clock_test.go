package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/enichain/enichain/test/clouds"
)

// wallJumps is eni-ipam with a wall clock that is as far ahead as WALL_AHEAD says, and a monotonic one that is right: what a
// process sees after somebody has set the clock.
const wallJumps = "eni-ipam-wall"

// buildWallJumps builds it, with a time package that reads the variable. The build's cache keeps it.
func buildWallJumps() error {
	const read, jumped = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {", "\tsec, nsec, mono := runtimeNow()\n\tsec += wallAhead()\n\tif mono == 0 {"
	const ahead = `package time

import "syscall"

func wallAhead() int64 {
	text, _ := syscall.Getenv("WALL_AHEAD")
	d, _ := ParseDuration(text)
	return int64(d / Second)
}
`
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("find Go's own packages: %w", err)
	}
	src, dir := filepath.Join(strings.TrimSpace(string(root)), "src", "time"), filepath.Join(bin.Dir, "overlay")
	original, err := os.ReadFile(filepath.Join(src, "time.go"))
	if err != nil {
		return err
	}
	if n := bytes.Count(original, []byte(read)); n != 1 {
		return fmt.Errorf("time.Now of %s is another than is known", runtime.Version())
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	replace := map[string]string{}
	for name, text := range map[string]string{
		"time.go": strings.Replace(string(original), read, jumped, 1), "wallahead.go": ahead,
	} {
		replace[filepath.Join(src, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o644)
	}
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-overlay", filepath.Join(dir, "overlay.json"),
		"-o", bin.Path(wallJumps), "github.com/enichain/enichain/plugins/ipam/eni-ipam")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", wallJumps, err, out)
	}
	return nil
}

// jump makes a process one whose wall clock is ahead, and whose time since boot is the world's, in whole seconds.
func (w *world) jump(cmd *exec.Cmd, wall time.Duration) {
	offset := strconv.FormatInt(w.ahead.Load()/int64(time.Second), 10)
	cmd.Args = append([]string{
		"/usr/bin/unshare", "--time", "--boottime", offset, "--monotonic", offset, "--kill-child", "--", bin.Path(wallJumps),
	}, cmd.Args[1:]...)
	cmd.Path = cmd.Args[0]
	cmd.Env = append(cmd.Env, "WALL_AHEAD="+wall.String())
}

// walls are how far somebody may set the clock, forwards and back.
func walls() []time.Duration {
	const year = 365 * 24 * time.Hour
	return []time.Duration{0, time.Hour, -time.Hour, 10 * year, -10 * year}
}

// TestTheWallClockDoesNotMatter sets the wall clock between calls: what cools down does so by the time since boot alone.
func TestTheWallClockDoesNotMatter(t *testing.T) {
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		conf := map[string]any{"maxENIs": 1, "timeout": "20s"}
		n := newNode(newWorld(t, c, c.Small, conf, "10.0.0.0/24"), nil)
		n.addAll(t, c.Small.Each)
		call := func(verb, id string, wall time.Duration) (string, error) {
			cmd, stdout := n.process(t, verb, id, conf)
			n.jump(cmd, wall)
			err := cmd.Run()
			return stdout.String(), err
		}
		for i, wall := range walls() {
			id := fmt.Sprint("c", i+1)
			rested := n.live[id][0]
			if out, err := call("DEL", id, wall); err != nil {
				t.Fatalf("DEL: %v: %s", err, out)
			}
			n.gone(id, n.now())
			for _, other := range walls() {
				if out, err := call("ADD", "late", other); err == nil || !strings.Contains(out, "1 are cooling down") {
					t.Fatalf("released at %v, asked for at %v: %v, %s", wall, other, err, out)
				}
			}
			n.pass(31 * time.Second)
			out, err := call("ADD", id+"-again", -wall)
			if err != nil || !strings.Contains(out, rested.String()) {
				t.Fatalf("released at %v, and free at %v: %v: %s", wall, -wall, err, out)
			}
			n.granted(t, id+"-again", []netip.Addr{rested}, n.conf)
		}
		n.check(t)
	})
}
