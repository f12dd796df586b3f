package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/clouds"
)

// A main plugin that is killed need not take eni-ipam with it. What it then waits for, it does not take: nobody would ever
// release it.
func TestAnADDWhoseCallerDied(t *testing.T) {
	node := up(t, clouds.AWS(), clouds.AWS().Medium, "10.0.0.0/24")
	node.Add("c0", map[string]any{"batch": 1})
	growing, err := node.Store().LockGrowth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := json.Marshal(map[string]any{"cniVersion": "1.0.0", "name": node.Network, "type": "macvlan", "ipam": node.Section(nil)})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "stdin")
	if err := os.WriteFile(file, stdin, 0o600); err != nil {
		t.Fatal(err)
	}
	caller := exec.Command("sh", "-c", `"$0" <"$1" >/dev/null & wait`, bin.Path("eni-ipam"), file)
	caller.Env = []string{
		"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=" + filepath.Join(node.Dir, "no-such-netns"),
		"CNI_PATH=" + bin.Dir, "CNI_NETNS_OVERRIDE=1",
	}
	node.NS.Do(caller.Start)
	allWait(node, 1)
	if err := caller.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = caller.Wait()
	node.Del("c1", nil) // which finds nothing yet
	growing()
	if err := node.AwaitEnd(); err != nil {
		t.Fatal(err)
	}
	node.Update(func(tx *store.Tx) error {
		owned, err := tx.OwnedIn(node.Network)
		if len(owned) != 1 {
			t.Errorf("after the DEL: %+v", owned)
		}
		return err
	})
}
