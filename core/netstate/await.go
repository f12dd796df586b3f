package netstate

import (
	"bytes"
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/nlsock"
	"github.com/enichain/enichain/core/store"
)

// AwaitENILink returns the ENI's link, and where the namespace does not have it yet waits until the deadline for the kernel to
// say that it has: an ENI that the cloud calls attached shows up here a little later. It is for the calling thread's
// namespace.
func (h *Handle) AwaitENILink(deadline time.Time, eni store.ENI) (Link, error) {
	link, err := h.ENILink(eni)
	if !errors.Is(err, ErrNoLink) {
		return link, err
	}
	mac, parseErr := net.ParseMAC(eni.MAC)
	if parseErr != nil {
		return link, err // by name only: nothing that comes and goes
	}
	news, newsErr := nlsock.Dial(unix.NETLINK_ROUTE, unix.RTMGRP_LINK)
	if newsErr != nil {
		return Link{}, newsErr
	}
	defer news.Close()
	for {
		// After the subscription, so that nothing falls between the two.
		link, err = h.ENILink(eni)
		if !errors.Is(err, ErrNoLink) {
			return link, err
		}
		heard, newsErr := news.Await(deadline, func(body []byte) bool {
			l, err := decodeLink(body)
			return err == nil && bytes.Equal(l.MAC, mac)
		})
		if !heard {
			return Link{}, errors.Join(err, newsErr)
		}
	}
}
