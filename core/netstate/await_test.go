package netstate_test

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/store"
)

// An ENI's link that shows up late, under whatever name, is found when the kernel says so.
func TestAwaitENILink(t *testing.T) {
	const mac = "02:00:00:00:00:07"
	ns := nstest.New(t)
	plug := func(name, mac string) {
		ns.Do(func() error {
			hw, err := net.ParseMAC(mac)
			if err != nil {
				return err
			}
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.HardwareAddr = name, hw
			return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "far-" + name})
		})
	}
	ns.Do(func() error {
		h, err := netstate.Here()
		if err != nil {
			return err
		}
		defer h.Close()
		if _, err := h.AwaitENILink(time.Now().Add(30*time.Millisecond), store.ENI{ID: "eni-7", MAC: mac}); !errors.Is(err, netstate.ErrNoLink) {
			return fmt.Errorf("a link that never comes: %w", err)
		}
		var plugged sync.WaitGroup
		defer plugged.Wait()
		plugged.Go(func() {
			time.Sleep(20 * time.Millisecond)
			plug("other", "02:00:00:00:00:08")
			plug("renamed0", mac)
		})
		link, err := h.AwaitENILink(time.Now().Add(time.Minute), store.ENI{ID: "eni-7", MAC: mac})
		if err == nil && link.Name != "renamed0" {
			err = fmt.Errorf("found %s", link.Name)
		}
		return err
	})
}
