package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
)

// bin has the built programs.
var bin *chain.Binaries

func TestMain(m *testing.M) { chain.Main(m, &bin) }

// world is a node of a simulated cloud, with a conflist.
type world struct {
	*clouds.Node
	t *testing.T
}

// newWorld is an instance of the size with its primary ENI. more are fields of the "ipam" section.
func newWorld(t *testing.T, c clouds.Cloud, size clouds.Size, more map[string]any) *world {
	t.Helper()
	w := &world{clouds.Up(t, bin, c, size, "10.0.0.0/24"), t}
	for k, v := range more {
		w.IPAM[k] = v
	}
	w.configure()
	return w
}

// configure writes the conflist anew.
func (w *world) configure() { w.write("10-test.conflist", w.conflist()) }

// conflist is the network's configuration.
func (w *world) conflist() map[string]any {
	return map[string]any{
		"cniVersion": "1.0.0", "cniVersions": []string{"0.4.0", "1.0.0", "1.1.0"}, "name": "net",
		"plugins": []any{map[string]any{"type": "eni-ptp", "ipam": w.Section(nil)}},
	}
}

// write puts a file into the world's folder, where enictl looks for conflists.
func (w *world) write(name string, content any) string {
	w.t.Helper()
	data, err := json.MarshalIndent(content, "", "  ")
	path := filepath.Join(w.Dir, name)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return path
}

// command is a call of enictl.
func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(bin.Path("enictl"), args...)
	cmd.Env = []string{"NETCONFPATH=" + w.Dir, "CNI_PATH=" + bin.Dir, "TMPDIR=" + w.Dir}
	return cmd
}

// ctl runs enictl; it must end with the status.
func (w *world) ctl(status int, args ...string) string {
	w.t.Helper()
	stdout, stderr, got := w.Start(w.command(args...))
	if got != status {
		w.t.Fatalf("enictl %s ends with %d, not %d:\n%s%s", strings.Join(args, " "), got, status, stdout, stderr)
	}
	return stdout + stderr
}

// snapshot reads the store.
func (w *world) snapshot() *snapshot {
	w.t.Helper()
	s, err := look(w.t.Context(), w.Store())
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
