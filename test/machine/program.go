package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Program is a program that was started on a machine. It is waited for at once: a process that nobody waits for would hold
// the machine's end up.
type Program struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how, once it has
}

// Start starts a command on the machine; its working folder is / where it names none. It ends with the machine, if not
// before.
func (m *Machine) Start(cmd *exec.Cmd) (*Program, error) {
	err := m.Node.Do(func() error {
		if err := unix.Setns(int(m.mnt.Fd()), unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("%s: enter the mounts: %w", m.Node.Name, err)
		}
		if err := unix.Setns(int(m.pid.Fd()), unix.CLONE_NEWPID); err != nil {
			return fmt.Errorf("%s: enter the processes: %w", m.Node.Name, err)
		}
		return cmd.Start()
	})
	if err != nil {
		return nil, err
	}
	p := &Program{cmd: cmd, done: make(chan struct{})}
	go func() { // ends with the process
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Done is closed when the program has ended.
func (p *Program) Done() <-chan struct{} { return p.done }

// Wait waits for the program's end and returns what exec.Cmd.Wait does. It may be called again.
func (p *Program) Wait() error {
	<-p.done
	return p.err
}

// End sends a signal to the program, if it still runs, and waits for its end.
func (p *Program) End(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", filepath.Base(p.cmd.Path), err)
	}
	<-p.done
	return nil
}

// Output runs a program on the machine and returns what it printed. Its standard error becomes part of the error.
func (m *Machine) Output(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(m.Env(), env...)
	return m.OutputOf(cmd)
}

// OutputOf is Output of a command that is put together already.
func (m *Machine) OutputOf(cmd *exec.Cmd) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	p, err := m.Start(cmd)
	if err == nil {
		err = p.Wait()
	}
	if err != nil {
		return stdout.Bytes(), fmt.Errorf("%s: run %s: %w: %s", m.Node.Name, strings.Join(cmd.Args, " "), err, stderr.Bytes())
	}
	return stdout.Bytes(), nil
}

// Process is something that runs on a machine, whoever started it.
type Process struct {
	PID  int    // as the test sees it
	Args string // the command line
}

// Processes returns what runs on the machine beside its first process.
func (m *Machine) Processes() ([]Process, error) {
	own, err := os.Readlink(m.proc("ns/pid"))
	if err != nil {
		return nil, err
	}
	links, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		return nil, err
	}
	var all []Process
	for _, link := range links {
		// A process that ended since is none of the machine's.
		if in, err := os.Readlink(link); err != nil || in != own {
			continue
		}
		var p Process
		if _, err := fmt.Sscanf(link, "/proc/%d/", &p.PID); err != nil || p.PID == m.init.Process.Pid {
			continue
		}
		args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
		if err != nil {
			continue
		}
		p.Args = strings.TrimSpace(strings.ReplaceAll(string(args), "\x00", " "))
		all = append(all, p)
	}
	return all, nil
}
