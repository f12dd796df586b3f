package chaos

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/vpcsim"
)

var here = flag.Bool("here", false, "run TestWear in this process")

// TestWear is a node that is full of containers, and each day's comings and goings on it. It runs in a process of its own,
// whose files are counted, and without the race detector, which has nothing to find where one call follows the other.
func TestWear(t *testing.T) {
	if *here {
		for _, c := range []clouds.Cloud{clouds.AWS(), clouds.Tencent()} {
			t.Run(c.Name, func(t *testing.T) { wear(t, c) })
		}
		return
	}
	t.Parallel()
	if err := bin.AddTest("wear.test", "./test/chaos"); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), bin.Path("wear.test"), "-here", "-test.run=^TestWear$", "-test.v").CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

func wear(t *testing.T, c clouds.Cloud) {
	t.Helper()
	const containers, pairs = 110, 3_000
	conf := map[string]any{"batch": 29, "families": families()[0]}
	if c.Name == vpcsim.AWS { // whose prefixes have addresses that were never used for very long
		conf["families"] = families()[1]
	}
	n := newNode(newWorld(t, c, c.Large, conf, "10.0.0.0/22"), nil)
	names := make([]string, containers)
	next := func(i int) {
		names[i] = n.newID()
		if err := n.add(t, names[i], netip.Addr{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range names {
		next(i)
	}
	calls, reads := n.Calls(""), n.Calls("DescribeNetworkInterfaces")
	var size int64
	descriptors := openFiles(t)
	for pair := range pairs {
		i := pair * 7 % containers
		n.del(t, names[i])
		next(i)
		n.pass(10 * time.Second) // so that three cool down at a time
		if pair == pairs/10 {
			size = fileSize(t, n.store.Path())
			n.trail = nil
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	n.checkIndexes(t, n.check(t))
	if got := fileSize(t, n.store.Path()); got > size {
		t.Errorf("the store's file grew from %d bytes to %d", size, got)
	}
	if got := openFiles(t); got > descriptors {
		t.Errorf("%d files are open, %d were before", got, descriptors)
	}
	if n.Calls("") != calls || n.Calls("DescribeNetworkInterfaces") != reads {
		t.Errorf("the cloud was asked: %d changes, %d lists", n.Calls("")-calls, n.Calls("DescribeNetworkInterfaces")-reads)
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// openFiles counts this process's files, its connections aside, which come and go.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, e := range entries {
		to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%s", e.Name()))
		if err == nil && len(to) > 0 && to[0] == '/' {
			files++
		}
	}
	return files
}
