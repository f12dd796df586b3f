package netstate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/core/store"
)

// AwaitENILink returns the ENI's link, and where the namespace does not have it yet waits until ctx ends for the kernel to
// say that it has: an ENI that the cloud calls attached shows up here a little later. It is for the calling thread's
// namespace.
func (h *Handle) AwaitENILink(ctx context.Context, eni store.ENI) (Link, error) {
	link, err := h.ENILink(eni)
	if !errors.Is(err, ErrNoLink) {
		return link, err
	}
	mac, parseErr := net.ParseMAC(eni.MAC)
	if parseErr != nil {
		return link, err // by name only: nothing that comes and goes
	}
	updates, done := make(chan netlink.LinkUpdate), make(chan struct{})
	if err := netlink.LinkSubscribe(updates, done); err != nil {
		return Link{}, fmt.Errorf("watch the links: %w", err)
	}
	defer func() {
		close(done)
		for range updates { // until the reader has ended
		}
	}()
	for {
		// After the subscription, so that nothing falls between the two.
		link, err = h.ENILink(eni)
		if !errors.Is(err, ErrNoLink) {
			return link, err
		}
		if !await(ctx, updates, mac) {
			return Link{}, err
		}
	}
}

// await waits for news of a link with the MAC; false says that there will be none, or none in time.
func await(ctx context.Context, updates <-chan netlink.LinkUpdate, mac net.HardwareAddr) bool {
	for {
		select {
		case u, ok := <-updates:
			if !ok || bytes.Equal(u.Attrs().HardwareAddr, mac) {
				return ok
			}
		case <-ctx.Done():
			return false
		}
	}
}
