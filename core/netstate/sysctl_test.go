package netstate_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
)

// A handle's settings are those of its own namespace, whoever else is about.
func TestSysctlsAreTheNamespaces(t *testing.T) {
	const key = "net/ipv4/ip_forward"
	on := layout.State{Sysctls: []layout.Sysctl{{Key: key, Value: "1"}}}
	one, other := nstest.New(t), nstest.New(t)
	var h *netstate.Handle
	one.Do(func() (err error) {
		if h, err = netstate.Here(); err != nil {
			return err
		}
		if d, err := h.Diff(on); d != "sysctl "+key+" is 0, not 1" || err != nil {
			t.Errorf("before: %q, %v", d, err)
		}
		return nil
	})
	defer h.Close()
	other.Do(func() error {
		if _, err := h.Sysctl(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		_ = h.Apply(on) // which some kernel may refuse
		value, err := os.ReadFile("/proc/sys/" + key)
		if err == nil && string(value) != "0\n" {
			t.Errorf("another namespace, whose thread called, has %q", value)
		}
		return err
	})
	one.Do(func() error {
		if err := h.Apply(on); err != nil {
			return err
		}
		if d, err := h.Diff(on); d != "" || err != nil {
			t.Errorf("after: %q, %v", d, err)
		}
		if d, err := h.Diff(layout.State{Sysctls: []layout.Sysctl{{Key: "net/ipv4/conf/none/forwarding"}}}); d == "" || err != nil {
			t.Errorf("of a device that is not there: %q, %v", d, err)
		}
		if _, err := h.Sysctl("kernel"); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("what is no namespace's: %v", err)
		}
		return nil
	})
}
