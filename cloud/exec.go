package cloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	// drain is how long a driver that ended or was killed may keep its output open by a child of its own.
	drain = 500 * time.Millisecond
	// grace is the most by which a driver's deadline is earlier than the caller's: a driver that gives up by itself can
	// say what it was waiting for.
	grace = 250 * time.Millisecond
	// maxStderr bounds what is kept of a driver's standard error, and maxLine what an error quotes of it, in bytes.
	maxStderr, maxLine = 4 << 10, 400
)

// Exec is a Driver that runs a driver's binary, one process a call. The process and what it started are killed when the
// context ends, and it is killed with its caller.
type Exec struct {
	Path   string          // the binary, as FindDriver returns it
	Config json.RawMessage // "driver" of the network configuration; may be nil
	// Env is the driver's environment. Where it is nil the driver gets this process's, without CNI's own variables.
	Env []string
}

var _ Driver = (*Exec)(nil)

// Node implements Driver.
func (x *Exec) Node(ctx context.Context) (*Node, error) {
	a, err := x.call(ctx, &Request{Op: OpNode})
	if err != nil {
		return nil, err
	}
	return a.Node, nil
}

// ENIs implements Driver.
func (x *Exec) ENIs(ctx context.Context, instanceID string) ([]ENI, error) {
	a, err := x.call(ctx, &Request{Op: OpENIs, InstanceID: instanceID})
	if err != nil {
		return nil, err
	}
	return a.ENIs, nil
}

// Limits implements Driver.
func (x *Exec) Limits(ctx context.Context, instanceType string) (Limits, error) {
	a, err := x.call(ctx, &Request{Op: OpLimits, InstanceType: instanceType})
	if err != nil {
		return Limits{}, err
	}
	return *a.Limits, nil
}

// Assign implements Driver.
func (x *Exec) Assign(ctx context.Context, eni string, count int) ([]netip.Addr, error) {
	a, err := x.call(ctx, &Request{Op: OpAssign, ENI: eni, Count: count})
	if err != nil {
		return nil, err
	}
	return a.Addresses, nil
}

// AssignIPv6 implements Driver.
func (x *Exec) AssignIPv6(ctx context.Context, eni string, count int) ([]netip.Addr, error) {
	a, err := x.call(ctx, &Request{Op: OpAssignIPv6, ENI: eni, Count: count})
	if err != nil {
		return nil, err
	}
	return a.Addresses, nil
}

// Unassign implements Driver.
func (x *Exec) Unassign(ctx context.Context, eni string, addresses []netip.Addr) error {
	_, err := x.call(ctx, &Request{Op: OpUnassign, ENI: eni, Addresses: addresses})
	return err
}

// AssignPrefixes implements Driver.
func (x *Exec) AssignPrefixes(ctx context.Context, eni string, count int) ([]netip.Prefix, error) {
	a, err := x.call(ctx, &Request{Op: OpAssignPrefixes, ENI: eni, Count: count})
	if err != nil {
		return nil, err
	}
	return a.Prefixes, nil
}

// AssignIPv6Prefixes implements Driver.
func (x *Exec) AssignIPv6Prefixes(ctx context.Context, eni string, count int) ([]netip.Prefix, error) {
	a, err := x.call(ctx, &Request{Op: OpAssignIPv6Prefixes, ENI: eni, Count: count})
	if err != nil {
		return nil, err
	}
	return a.Prefixes, nil
}

// UnassignPrefixes implements Driver.
func (x *Exec) UnassignPrefixes(ctx context.Context, eni string, prefixes []netip.Prefix) error {
	_, err := x.call(ctx, &Request{Op: OpUnassignPrefixes, ENI: eni, Prefixes: prefixes})
	return err
}

// Subnets implements Driver.
func (x *Exec) Subnets(ctx context.Context, query SubnetQuery) ([]Subnet, error) {
	a, err := x.call(ctx, &Request{Op: OpSubnets, Query: &query})
	if err != nil {
		return nil, err
	}
	return a.Subnets, nil
}

// CreateENI implements Driver.
func (x *Exec) CreateENI(ctx context.Context, request CreateENIRequest) (*ENI, error) {
	a, err := x.call(ctx, &Request{Op: OpCreateENI, Create: &request})
	if err != nil {
		return nil, err
	}
	return a.ENI, nil
}

// DeleteENI implements Driver.
func (x *Exec) DeleteENI(ctx context.Context, instanceID, eni string) error {
	_, err := x.call(ctx, &Request{Op: OpDeleteENI, InstanceID: instanceID, ENI: eni})
	return err
}

// TaggedENIs implements Driver.
func (x *Exec) TaggedENIs(ctx context.Context, tags map[string]string) ([]ENI, error) {
	a, err := x.call(ctx, &Request{Op: OpTaggedENIs, Tags: tags})
	if err != nil {
		return nil, err
	}
	return a.ENIs, nil
}

// call runs the driver for one request. Every error is an *Error.
func (x *Exec) call(ctx context.Context, req *Request) (*Answer, error) {
	req.Protocol, req.Config = Protocol, x.Config
	if err := req.check(); err != nil {
		return nil, invalid("call the cloud driver", err)
	}
	if end, ok := ctx.Deadline(); ok {
		left := time.Until(end)
		req.TimeoutMillis = max(1, (left - min(grace, left/10)).Milliseconds())
	}
	input, err := json.Marshal(req)
	if err != nil {
		return nil, invalid("write the driver's configuration", err)
	}
	stdout, stderr := &output{limit: maxMessage}, &output{limit: maxStderr, tail: true}
	runErr := x.run(ctx, input, stdout, stderr)
	answer, err := decodeAnswer(&stdout.text, req.Op)
	switch {
	case err == nil && answer.Error != nil:
		return nil, answer.Error
	case err == nil && (runErr == nil || errors.Is(runErr, exec.ErrWaitDelay)): // the answer is whole, whoever holds the pipe
		return answer, nil
	}
	return nil, x.failed(ctx, req.Op, runErr, err, stdout, stderr)
}

// run runs the binary to its end.
func (x *Exec) run(ctx context.Context, input []byte, stdout, stderr *output) error {
	// The death signal is bound to the thread that forked: it has to live as long as the driver may.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, x.Path)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), stdout, stderr
	cmd.Env, cmd.Dir, cmd.WaitDelay = x.environment(), "/", drain
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what still holds the pipes; gone is as good
	}
	return err
}

// environment is this process's without the CNI_ variables: a driver is no plugin.
func (x *Exec) environment() []string {
	if x.Env != nil {
		return x.Env
	}
	env := []string{}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CNI_") {
			env = append(env, v)
		}
	}
	return env
}

// failed says why there is no answer: the driver didn't start, was too late, or said something else.
func (x *Exec) failed(ctx context.Context, op Op, runErr, answerErr error, stdout, stderr *output) *Error {
	name := "cloud driver " + filepath.Base(x.Path) + ", " + string(op)
	var exited *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return &Error{Class: Unreachable, Message: fmt.Sprintf("%s: no answer in time (%v)%s", name, ctx.Err(), stderr.quote())}
	case stdout.overflowed:
		return &Error{Class: Internal, Message: fmt.Sprintf("%s: the answer has more than %d bytes", name, maxMessage)}
	case runErr != nil && !errors.As(runErr, &exited) && !errors.Is(runErr, exec.ErrWaitDelay):
		return &Error{Class: Invalid, Message: fmt.Sprintf("%s: cannot be run: %v", name, runErr)}
	case runErr == nil:
		runErr = errors.New("exit status 0")
	}
	reason := runErr.Error()
	if answerErr != nil {
		reason += ", its answer cannot be used: " + answerErr.Error()
	}
	return &Error{Class: Internal, Message: name + ": " + reason + stderr.quote()}
}

// output keeps what a process writes, up to a limit: the beginning, or the end where tail is set. The buffer is no
// embedded one, whose ReadFrom io.Copy would take instead of Write.
type output struct {
	text       bytes.Buffer
	limit      int
	tail       bool
	overflowed bool
}

// Write implements io.Writer. Beyond the limit it fails, which closes the pipe; a tail drops what is oldest.
func (o *output) Write(p []byte) (int, error) {
	if o.text.Len()+len(p) > o.limit && !o.tail {
		o.overflowed = true
		return 0, errors.New("too much output")
	}
	o.text.Write(p)
	o.text.Next(max(0, o.text.Len()-o.limit))
	return len(p), nil
}

// quote returns the last line that says anything, for the end of an error.
func (o *output) quote() string {
	lines := strings.Split(strings.TrimSpace(o.text.String()), "\n")
	line := strings.ToValidUTF8(strings.TrimSpace(lines[len(lines)-1]), "?")
	if line == "" {
		return ""
	}
	if len(line) > maxLine {
		line = strings.ToValidUTF8(line[:maxLine], "") + "..."
	}
	return "; stderr: " + line
}
