package drivertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/cloud"
)

// Killed is a test of a driver that is killed at each of its calls of the API, before the work is done and after. S is a
// cloud, made anew for each.
type Killed[S any] struct {
	Binary string
	Least  int // calls that the driver makes at the least
	New    func() S
	API    func(S) http.Handler
	Config func(s S, api string) []byte // of a driver whose API is at the URL
	Do     func(s S, d cloud.Driver) error
	Check  func(s S) // what is left
}

// Run kills the driver one call later each time, until it lives to its end.
func (k Killed[S]) Run(t *testing.T) {
	t.Helper()
	const most = 100
	for n := 1; n <= most; n++ {
		lived := false
		for _, after := range []bool{false, true} {
			s := k.New()
			lived = k.once(t, s, int64(n), after) == nil
			k.Check(s)
			if t.Failed() {
				t.Fatalf("killed at call %d, after the work was done: %v", n, after)
			}
		}
		if lived {
			if n <= k.Least {
				t.Errorf("the driver made %d calls: it was not killed at each", n-1)
			}
			return
		}
	}
	t.Errorf("still killed at call %d", most)
}

// once runs a driver that is killed at a call.
func (k Killed[S]) once(t *testing.T, s S, at int64, after bool) error {
	t.Helper()
	dir := t.TempDir()
	front := httptest.NewServer(&killer{t: t, api: k.API(s), pidFile: filepath.Join(dir, "pid"), at: at, after: after})
	defer front.Close()
	wrapper := filepath.Join(dir, "eni-cloud-killed")
	script := fmt.Sprintf("#!/bin/sh\necho $$ >%s\nexec %s\n", filepath.Join(dir, "pid"), k.Binary)
	if err := os.WriteFile(wrapper, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return k.Do(s, &cloud.Exec{Path: wrapper, Config: k.Config(s, front.URL), Env: []string{}})
}

// killer is an API's front: it kills the driver at its nth call, before the work is done or after.
type killer struct {
	t       *testing.T
	api     http.Handler
	pidFile string
	calls   atomic.Int64
	at      int64
	after   bool
}

// ServeHTTP passes the call on. What the dead driver asked for last gets no answer.
func (k *killer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hit := k.calls.Add(1) == k.at
	if hit && !k.after {
		k.kill()
		panic(http.ErrAbortHandler)
	}
	if hit {
		w = httptest.NewRecorder()
	}
	k.api.ServeHTTP(w, r)
	if hit {
		k.kill()
		panic(http.ErrAbortHandler)
	}
}

// kill ends the driver and waits until it is dead.
func (k *killer) kill() {
	text, err := os.ReadFile(k.pidFile)
	if err != nil {
		k.t.Error(err)
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		k.t.Error(err)
		return
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		k.t.Errorf("the driver, process %d: %v", pid, err)
		return
	}
	defer func() { _ = unix.Close(fd) }() // only waited on
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		k.t.Error(err)
	}
	for {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); err != unix.EINTR {
			return
		}
	}
}
