package aws_test

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

// killer is the EC2 API's front: it kills the driver at its nth call, before the work is done or after.
type killer struct {
	*site
	t       *testing.T
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
	k.EC2().ServeHTTP(w, r)
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

// killAtEachCall runs do with a driver that is killed one call later each time, before and after the API did its work, and
// check after each, until the driver lives to its end.
func killAtEachCall(t *testing.T, do func(s *site, d cloud.Driver) error, check func(s *site)) {
	t.Helper()
	const least, most = 4, 100
	driver := buildDriver(t)
	for n := 1; n <= most; n++ {
		lived := false
		for _, after := range []bool{false, true} {
			k := &killer{site: newSite(t), t: t, pidFile: filepath.Join(t.TempDir(), "pid"), at: int64(n), after: after}
			front := httptest.NewServer(k)
			wrapper := filepath.Join(t.TempDir(), "eni-cloud-killed")
			script := fmt.Sprintf("#!/bin/sh\necho $$ >%s\nexec %s\n", k.pidFile, driver)
			if err := os.WriteFile(wrapper, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			config := fmt.Sprintf(`{"ec2Endpoint": %q, "imdsEndpoint": %q}`, front.URL, k.imds.URL)
			err := do(k.site, &cloud.Exec{Path: wrapper, Config: []byte(config), Env: []string{}})
			lived = err == nil
			front.Close()
			check(k.site)
			if t.Failed() {
				t.Fatalf("killed at call %d, after the work was done: %v", n, after)
			}
		}
		if lived {
			if n <= least {
				t.Errorf("the driver made %d calls: it was not killed at each", n-1)
			}
			return
		}
	}
	t.Errorf("still killed at call %d", most)
}

func TestKilledCreate(t *testing.T) {
	t.Parallel()
	left := map[string]bool{} // what the killed ones left
	killAtEachCall(t, func(s *site, d cloud.Driver) error {
		_, err := d.CreateENI(t.Context(), s.wanted("t"))
		return err
	}, func(s *site) {
		all := s.made("t")
		if len(all) == 0 {
			left["nothing"] = true
		} else {
			left[fmt.Sprintf("%s, with the instance %v", all[0].State, all[0].DeleteOnTermination)] = true
		}
		if _, err := s.driver(t, nil).CreateENI(t.Context(), s.wanted("t")); err != nil {
			t.Errorf("the repetition: %v", err)
		}
		if err := s.complete("t"); err != nil {
			t.Error(err)
		}
	})
	for _, state := range []string{"nothing", "available, with the instance false", "attached, with the instance false", "attached, with the instance true"} {
		if !left[state] {
			t.Errorf("no driver was killed where it left %q, only %v", state, left)
		}
	}
}

func TestKilledDelete(t *testing.T) {
	t.Parallel()
	eni := func(s *site) string { return s.ENIs(s.instance.ID)[1].ID }
	killAtEachCall(t, func(s *site, d cloud.Driver) error {
		return d.DeleteENI(t.Context(), s.instance.ID, eni(s))
	}, func(s *site) {
		for _, e := range s.AllENIs() {
			if e.InstanceID == s.instance.ID && e.DeviceIndex == 0 || e.InstanceID != s.instance.ID && e.InstanceID != "" {
				continue
			}
			if err := s.driver(t, nil).DeleteENI(t.Context(), s.instance.ID, e.ID); err != nil {
				t.Errorf("the repetition: %v", err)
			}
		}
		if all := s.AllENIs(); len(all) != 3 {
			t.Errorf("left behind: %+v", all)
		}
	})
}
