// Package containerd runs a real containerd on a machine of the lab, with its defaults for the CNI: binaries in /opt/cni/bin,
// the conflist in /etc/cni/net.d. Its images and the cache of CNI results (/var/lib/cni) survive the machine's reboot.
package containerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/image"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/machine"
)

// Socket is where the CRI is served, on the machine.
const Socket = "/run/containerd/containerd.sock"

const (
	root       = machine.Disk + "/containerd"
	configPath = "/etc/containerd/config.toml"
	notifyPath = "/run/containerd-notify.sock"
)

// config is read by 1.6 and, as an older version, by 2.x. The images of a sandbox and of a container are the same. Whoever
// runs without CAP_SYS_RESOURCE may not lower a score of the OOM killer, as a kubelet asks for.
const config = `version = 2
root = "` + root + `"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + image.Name + `"
  disable_apparmor = true
  restrict_oom_score_adj = true
`

// Daemon is a containerd that runs.
type Daemon struct {
	Machine *machine.Machine

	dir string // of the programs; empty for those in PATH
	p   *machine.Program
	log *log
}

// Start starts the containerd of a folder, or that in PATH where dir is empty, and waits until it serves. The CRI plugin
// may still be on its way then: its first answers can be "server is not initialized yet".
func Start(ctx context.Context, m *machine.Machine, dir string) (*Daemon, error) {
	d := &Daemon{Machine: m, dir: dir, log: &log{}}
	if err := d.start(ctx); err != nil {
		return nil, fmt.Errorf("%s: start containerd: %w", m.Node.Name, err)
	}
	return d, nil
}

func (d *Daemon) start(ctx context.Context) error {
	if err := d.Machine.Node.Do(prepare); err != nil {
		return err
	}
	ready, err := listen(d.Machine.Node)
	if err != nil {
		return err
	}
	defer func() { _ = ready.Close() }() // it has told what it had to
	cmd := exec.Command(d.program("containerd"), "--config", configPath)
	cmd.Env = append(d.env(), "NOTIFY_SOCKET="+notifyPath)
	cmd.Stdout, cmd.Stderr = d.log, d.log
	if d.p, err = d.Machine.Start(cmd); err != nil {
		return err
	}
	if err := d.awaitReady(ctx, ready); err != nil {
		return errors.Join(err, d.Kill(), fmt.Errorf("its log: %s", d.Log()))
	}
	return nil
}

// prepare configures containerd in the calling thread's files.
func prepare() error {
	if err := os.MkdirAll(filepath.Dir(configPath), 0o755); err != nil {
		return err
	}
	return os.WriteFile(configPath, []byte(config), 0o644)
}

// listen opens the socket that sd_notify(3) writes to.
func listen(n *lab.Node) (ready *net.UnixConn, err error) {
	err = n.Do(func() error {
		if err := os.Remove(notifyPath); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		ready, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notifyPath, Net: "unixgram"})
		return err
	})
	return ready, err
}

// awaitReady waits until containerd says READY=1, ends, or the context does.
func (d *Daemon) awaitReady(ctx context.Context, ready *net.UnixConn) error {
	told := make(chan error, 1)
	go func() { // ends when the socket is closed, at the latest
		message := make([]byte, 4096)
		for {
			n, err := ready.Read(message)
			if err != nil || bytes.Contains(message[:n], []byte("READY=1")) {
				told <- err
				return
			}
		}
	}()
	select {
	case err := <-told:
		return err
	case <-d.p.Done():
		return fmt.Errorf("it ended: %w", d.p.Wait())
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Daemon) program(name string) string {
	if d.dir == "" {
		return name
	}
	return filepath.Join(d.dir, name)
}

// env has the daemon's own folder first in PATH: there it looks for its shim.
func (d *Daemon) env() []string {
	env := d.Machine.Env()
	if d.dir != "" {
		env = append(env, "PATH="+d.dir+":/usr/bin:/bin:/usr/sbin:/sbin") // of two, the last counts
	}
	return env
}

// Import imports an archive of images, as package image makes them, for the CRI.
func (d *Daemon) Import(ctx context.Context, archive []byte) error {
	cmd := exec.CommandContext(ctx, d.program("ctr"), "--namespace", "k8s.io", "images", "import", "-")
	cmd.Env, cmd.Stdin = d.env(), bytes.NewReader(archive)
	_, err := d.Machine.OutputOf(cmd)
	return err
}

// Version returns what containerd says of itself.
func (d *Daemon) Version(ctx context.Context) (string, error) {
	out, err := d.Machine.Output(ctx, d.env(), d.program("containerd"), "--version")
	return string(bytes.TrimSpace(out)), err
}

// Stop ends the daemon as an init system does: by TERM, to itself alone. Containers and their shims go on.
func (d *Daemon) Stop() error { return d.p.End(unix.SIGTERM) }

// Kill ends the daemon by KILL. Containers and their shims go on.
func (d *Daemon) Kill() error { return d.p.End(unix.SIGKILL) }

// Log is the end of what the daemon has logged.
func (d *Daemon) Log() string { return d.log.String() }

// log keeps the last of what is written to it.
type log struct {
	mu   sync.Mutex
	text []byte
}

var _ io.Writer = (*log)(nil)

func (l *log) Write(p []byte) (int, error) {
	const limit = 1 << 18
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if len(l.text) > limit {
		l.text = append([]byte(nil), l.text[len(l.text)-limit/2:]...)
	}
	return len(p), nil
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
