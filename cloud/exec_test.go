package cloud

import (
	"bufio"
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// script makes a driver of a shell script.
func script(t *testing.T, text string) *Exec {
	t.Helper()
	path := filepath.Join(t.TempDir(), "eni-cloud-test")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return &Exec{Path: path}
}

func wantError(t *testing.T, err error, class Class, words ...string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Class != class {
		t.Fatalf("error:\n- want: class %s\n-  got: %v", class, err)
	}
	for _, w := range words {
		if !strings.Contains(e.Message, w) {
			t.Errorf("error doesn't say %q: %v", w, e)
		}
	}
}

func TestExecFailures(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		class        Class
		words        []string
	}{
		{"answers an error", `echo '{"protocol":"enichain.cloud/1","error":{"class":"quota","message":"no more"}}'; exit 1`, Quota, []string{"no more"}},
		{"dies", "echo first >&2; echo 'the last words ' >&2; exit 3", Internal, []string{"eni-cloud-test, limits", "exit status 3", "stderr: the last words"}},
		{"says nothing", "exit 0", Internal, []string{"empty"}},
		{"says something else", "echo hello", Internal, []string{"not of protocol enichain.cloud/1"}},
		{"is of another release", `echo '{"protocol":"enichain.cloud/7","limits":{"enis":2,"addressesPerENI":2}}'`, Internal, []string{"enichain.cloud/7", "releases"}},
		{"fails beside an answer", `echo '{"protocol":"enichain.cloud/1","limits":{"enis":2,"addressesPerENI":2}}'; exit 4`, Internal, []string{"exit status 4"}},
		{"talks without end", "exec yes", Internal, []string{"more than"}},
		{"complains without end", "yes x | head -c 100000 >&2; echo 'the end' >&2; exit 1", Internal, []string{"stderr: the end"}},
		{"has one long line", "yes x | head -c 100000 | tr -d '\\n' >&2; exit 1", Internal, []string{"..."}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := script(t, "cat >/dev/null\n"+tt.script).Limits(t.Context(), "m5.large")
			wantError(t, err, tt.class, tt.words...)
			if len(err.Error()) > 1000 {
				t.Errorf("error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestExecThatCannotStart(t *testing.T) {
	x := &Exec{Path: filepath.Join(t.TempDir(), "nothing")}
	_, err := x.Assign(t.Context(), "eni-1", 1)
	wantError(t, err, Invalid, "cannot be run")
	_, err = (&Exec{Path: "/bin/true", Config: []byte("{")}).Node(t.Context())
	wantError(t, err, Invalid, "configuration")
	_, err = x.Assign(t.Context(), "", 1)
	wantError(t, err, Invalid, "assign needs eni")
}

// A driver that reads nothing of its request may answer all the same.
func TestExecThatReadsNothing(t *testing.T) {
	x := script(t, `echo '{"protocol":"enichain.cloud/1","limits":{"enis":2,"addressesPerENI":2}}'`)
	x.Config = []byte(`"` + strings.Repeat("x", 1<<20) + `"`) // more than a pipe holds
	if l, err := x.Limits(t.Context(), "m5.large"); err != nil || l.ENIs != 2 {
		t.Errorf("limits: got %+v, error %v", l, err)
	}
}

func TestExecEnvironment(t *testing.T) {
	t.Setenv("CNI_COMMAND", "ADD")
	t.Setenv("CNI_ARGS", "secret")
	t.Setenv("AWS_REGION", "eu-west-3")
	x := script(t, `cat >/dev/null; echo "$CNI_COMMAND$CNI_ARGS:$AWS_REGION:$(pwd)" >&2; exit 1`)
	_, err := x.Node(t.Context())
	wantError(t, err, Internal, "stderr: :eu-west-3:/")
	x.Env = []string{"PATH=/usr/bin:/bin"}
	_, err = x.Node(t.Context())
	wantError(t, err, Internal, "stderr: ::/")
}

// The driver has less time than its caller, counted from when it is started: a call may have waited before, and somebody set
// the clock since.
func TestExecGetsLessTime(t *testing.T) {
	x := script(t, `sed 's/.*"timeoutMillis":\([0-9]*\).*/\1/' >&2; exit 1`)
	const all = 20 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), all)
	defer cancel()
	_, err := x.Node(ctx)
	wantError(t, err, Internal, "stderr: ")
	_, text, _ := strings.Cut(err.Error(), "stderr: ")
	got, err := strconv.Atoi(text)
	if left := time.Duration(got) * time.Millisecond; err != nil || left > all-grace || left < all/2 {
		t.Errorf("timeout: want %s or a little less, got %s, error %v", all-grace, left, err)
	}
}

// The driver and what it started die with the context, also when a grandchild keeps the pipes open.
func TestExecIsKilledWithItsContext(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	x := script(t, "cat >/dev/null; echo waiting for the cloud >&2; sleep 1000 & echo $! >"+pidFile+"; wait")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := x.Unassign(ctx, "eni-1", []netip.Addr{netip.MustParseAddr("10.0.0.5")})
	wantError(t, err, Unreachable, "no answer in time", "waiting for the cloud")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the call took %s", took)
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	waitForEnd(t, strings.TrimSpace(string(text)))
}

// A driver that ended leaves nothing behind, and need not wait for what it started.
func TestExecWithAGrandchild(t *testing.T) {
	x := script(t, `cat >/dev/null; sleep 1000 & echo "{\"protocol\":\"enichain.cloud/1\",\"limits\":{\"enis\":$!,\"addressesPerENI\":2}}"`)
	l, err := x.Limits(t.Context(), "m5.large")
	if err != nil {
		t.Fatal(err)
	}
	waitForEnd(t, strconv.Itoa(l.ENIs))
}

// waitForEnd waits until a process is gone.
func waitForEnd(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(n, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
		if errors.Is(err, unix.EINTR) { // Go's own preemption signals
			continue
		}
		if err != nil || ready != 1 {
			t.Errorf("process %d still runs: %v", n, err)
		}
		return
	}
}

// A plugin that is killed takes its driver along: else it would still assign addresses when the next plugin settles
// what the first one left.
func TestExecDiesWithItsCaller(t *testing.T) {
	if path := os.Getenv("TEST_DRIVER"); path != "" { // we are the plugin
		_, err := (&Exec{Path: path}).Node(t.Context())
		t.Fatalf("the driver came back: %v", err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	x := script(t, "cat >/dev/null; echo $$ >"+pipe+"; exec sleep 1000")
	caller := exec.Command(os.Args[0], "-test.run=^TestExecDiesWithItsCaller$")
	caller.Env = append(os.Environ(), "TEST_DRIVER="+x.Path)
	if err := caller.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = caller.Wait() }()
	f, err := os.Open(pipe) // returns when the driver opens it, too
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pid, err := bufio.NewReader(f).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := caller.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	waitForEnd(t, strings.TrimSpace(pid))
}

func TestFindDriver(t *testing.T) {
	with, without := t.TempDir(), t.TempDir()
	path := filepath.Join(with, "eni-cloud-aws")
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(without, "eni-cloud-aws"), nil, 0o644); err != nil { // not executable
		t.Fatal(err)
	}
	cniPath := ":" + without + ":relative:" + with
	if got, err := FindDriver("aws", cniPath); err != nil || got != path {
		t.Errorf("driver: want %s, got %s, error %v", path, got, err)
	}
	_, err := FindDriver("gcp", cniPath)
	wantError(t, err, Invalid, "eni-cloud-gcp", "CNI_PATH", with)
	for _, name := range []string{"", "../aws", "a/b", "AWS", "-x", "aws\x00", "a w"} {
		_, err := FindDriver(name, cniPath)
		wantError(t, err, Invalid, "no name of a cloud")
	}
}
