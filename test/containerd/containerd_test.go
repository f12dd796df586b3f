package containerd_test

import (
	"strings"
	"testing"

	"github.com/enichain/enichain/test/containerd"
	"github.com/enichain/enichain/test/image"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/machine"
)

// A daemon starts, takes an image, stops, and knows the image when it comes up again after a power failure.
func TestContainerd(t *testing.T) {
	t.Parallel()
	l, err := lab.Up(t.Context(), lab.Options{Name: t.Name(), Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	}()
	d := start(t, l.Nodes[0])
	archive, err := image.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Import(t.Context(), archive); err != nil {
		t.Fatal(err)
	}
	if version, err := d.Version(t.Context()); err != nil || !strings.HasPrefix(version, "containerd ") {
		t.Errorf("version: %q, %v", version, err)
	}
	if err := d.Machine.Off(); err != nil {
		t.Fatal(err)
	}
	if err := d.Kill(); err != nil {
		t.Errorf("kill what has ended: %v", err)
	}
	d = start(t, l.Nodes[0])
	out, err := d.Machine.Output(t.Context(), nil, "ctr", "--namespace", "k8s.io", "images", "list", "--quiet")
	if err != nil || !strings.Contains(string(out), image.Name) {
		t.Errorf("images: %s, %v", out, err)
	}
	if err := d.Stop(); err != nil {
		t.Error(err)
	}
	if left, err := d.Machine.Processes(); err != nil || len(left) != 0 {
		t.Errorf("a daemon that was stopped left %v, %v", left, err)
	}
}

// start switches the node on and starts containerd there.
func start(t *testing.T, n *lab.Node) *containerd.Daemon {
	t.Helper()
	m, err := machine.On(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Off(); err != nil {
			t.Error(err)
		}
	})
	d, err := containerd.Start(t.Context(), m, "")
	if err != nil {
		t.Fatal(err)
	}
	return d
}
