package tencent_test

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
	"github.com/enichain/enichain/test/vpcsim"
)

// killer is the API's front: it kills the driver at its nth call, before the work is done or after.
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
	k.Tencent().ServeHTTP(w, r)
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
	const least, most = 3, 100
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
			config := fmt.Sprintf(`{"vpcEndpoint": %q, "metadataEndpoint": %q}`, front.URL, k.metadata.URL)
			err := do(k.site, &cloud.Exec{Path: wrapper, Config: []byte(config), Env: []string{}})
			lived = err == nil
			front.Close()
			check(k.site)
			if t.Failed() {
				t.Fatalf("killed at call %d, after the work was done %v: %v", n, after, err)
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

// Whenever a driver that makes an ENI is killed, the repetition leaves one ENI, attached, with all its addresses.
func TestKilledCreate(t *testing.T) {
	t.Parallel()
	killAtEachCall(t, func(s *site, d cloud.Driver) error {
		_, err := d.CreateENI(t.Context(), s.create("t", 2))
		return err
	}, func(s *site) {
		e, err := s.driver(t, nil).CreateENI(t.Context(), s.create("t", 2))
		if err != nil {
			t.Errorf("the repetition: %v", err)
			return
		}
		if all := s.made(); len(all) != 1 || all[0].ID != e.ID || all[0].State != vpcsim.Attached || len(all[0].Secondary) != 2 {
			t.Errorf("made: %+v", all)
		}
	})
}

// Whenever a driver that deletes an ENI is killed, the repetition leaves none.
func TestKilledDelete(t *testing.T) {
	t.Parallel()
	killAtEachCall(t, func(s *site, d cloud.Driver) error {
		return d.DeleteENI(t.Context(), s.instance.ID, s.eni(1).ID)
	}, func(s *site) {
		s.Wait()
		for _, e := range s.AllENIs() {
			if e.DeviceIndex == 0 && e.InstanceID != "" {
				continue
			}
			if err := s.driver(t, nil).DeleteENI(t.Context(), s.instance.ID, e.ID); err != nil {
				t.Errorf("the repetition: %v", err)
			}
		}
		if all := s.all(); len(all) != 2 {
			t.Errorf("left behind: %+v", all)
		}
	})
}

// Whenever a driver that assigns addresses is killed, the next to ask is told of all that were assigned.
func TestKilledAssign(t *testing.T) {
	t.Parallel()
	killAtEachCall(t, func(s *site, d cloud.Driver) error {
		_, err := d.Assign(t.Context(), s.eni(1).ID, 2)
		return err
	}, func(s *site) {
		enis, err := s.driver(t, nil).ENIs(t.Context(), s.instance.ID)
		if held := s.held(false)[1].Addresses; err != nil || len(enis[1].Addresses) != len(held) {
			t.Errorf("ENIs: %+v, error %v; held: %v", enis, err, held)
		}
	})
}
