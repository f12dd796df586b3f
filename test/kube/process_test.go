//go:build kube

package kube

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/enichain/enichain/test/machine"
)

// process is a daemon of a machine, with its output in a file.
type process struct {
	name    string
	machine *machine.Machine
	program *machine.Program
	logFile string
	stopped atomic.Bool // it was meant to end
}

// start starts a daemon. Should it end before it is stopped, failed is called with the reason.
func start(m *machine.Machine, dir string, failed func(error), program string, args ...string) (*process, error) {
	name := filepath.Base(program)
	p := &process{name: name + " of " + m.Node.Name, machine: m, logFile: filepath.Join(dir, m.Node.Name+"-"+name+".log")}
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd := exec.Command(program, args...)
	cmd.Env = m.Env()
	cmd.Stdout, cmd.Stderr = log, log
	if p.program, err = m.Start(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go func() { // ends with the process, and so with the machine at the latest
		<-p.program.Done()
		if !p.stopped.Load() {
			failed(fmt.Errorf("%s ended by itself: %w\n%s", p.name, p.program.Wait(), p.tail(logLines)))
		}
	}()
	return p, nil
}

// tail is the last lines of the process's output.
func (p *process) tail(lines int) string {
	text, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	return tail(string(text), lines)
}

// tail is the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
