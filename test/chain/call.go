package chain

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/enichain/enichain/test/lab"
)

// Call is one call of one plugin, put together by hand: what libcni would never send can be sent too.
type Call struct {
	Plugin  string // path of the binary
	Args    []string
	Env     map[string]string
	Stdin   []byte
	Wrapper []string // a command line that the plugin's path is appended to, such as strace's
}

// Outcome is what a call left: its exit status, its output, and the CNI error in it.
type Outcome struct {
	Status int // -1 where a signal ended it
	Stdout []byte
	Stderr []byte
	Error  *types.Error // where Status is not 0 and stdout has one
}

// Run runs the call in a host. The environment is Env and nothing else: a runtime's is not the test's.
func (c Call) Run(ctx context.Context, h *lab.Host) (*Outcome, error) {
	line := slices.Concat(c.Wrapper, []string{c.Plugin}, c.Args)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	for k, v := range c.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(c.Stdin), &stdout, &stderr
	err := h.Run(cmd)
	if cmd.ProcessState == nil {
		return nil, fmt.Errorf("run %s: %w", c.Plugin, err)
	}
	o := &Outcome{Status: cmd.ProcessState.ExitCode(), Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
	if o.Status != 0 {
		e := &types.Error{}
		if json.Unmarshal(o.Stdout, e) == nil {
			o.Error = e
		}
	}
	return o, nil
}
