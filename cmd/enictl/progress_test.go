package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/enichain/enichain/test/clouds"
	"golang.org/x/sys/unix"
)

// Long work says on a terminal what it is waiting for, and nothing to a pipe.
func TestProgressIsForTerminals(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		w := newWorld(t, c, c.Medium, map[string]any{"cooldown": "0s", "batch": c.Medium.Each})
		for i := range c.Medium.Each + 1 {
			w.Add(fmt.Sprint("c", i), nil)
		}
		eni := w.ENIs()[1].ID
		for _, tt := range []struct {
			args  []string
			words []string
		}{
			{[]string{"warm", "9"}, []string{"until 9 addresses are free ...", "list the subnets", "make an ENI in subnet-0 ..."}},
			{[]string{"drain", eni}, []string{"drain " + eni + " ...", "give back ["}},
			{[]string{"reconcile"}, []string{"list the ENIs of " + w.Instance.ID + " ...", "compare the store with the kernel ..."}},
			{[]string{"sweep"}, []string{"list the ENIs with the tag enichain/owner=enichain ..."}},
		} {
			cmd := w.command(tt.args...)
			has(t, w.onTerminal(cmd), tt.words...)
			if _, stderr, _ := w.Start(w.command(tt.args...)); stderr != "" {
				t.Errorf("%v writes to a pipe: %s", tt.args, stderr)
			}
		}
	})
}

// onTerminal runs a command with its errors on a pseudo terminal of their own, and returns what that got (pty(7)).
func (w *world) onTerminal(cmd *exec.Cmd) string {
	w.t.Helper()
	master, slave, err := pseudoTerminal()
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = master.Close() }()
	cmd.Stderr = slave
	w.NS.Do(cmd.Start)
	_ = slave.Close()
	text, _ := io.ReadAll(master) // which fails with EIO when the command has ended
	_ = cmd.Wait()                // the status may tell of findings
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

func pseudoTerminal() (master, slave *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	number, err := unix.IoctlGetUint32(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		_ = master.Close()
	}
	return master, slave, err
}
