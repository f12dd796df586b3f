package netstate

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/nlsock"
)

// Whatever the kernel sends is read or refused, without a crash. What it sends of a namespace that has little is where it begins.
func FuzzDecode(f *testing.F) {
	nstest.New(f).Do(func() error {
		h, err := Here()
		if err != nil {
			return err
		}
		defer h.Close()
		for _, r := range []nlsock.Request{
			allLinks(), addrsOf(unix.AF_UNSPEC, 0), neighsOf(unix.AF_INET, 0), routesBy(unix.AF_INET, anyTable, 0), routesBy(unix.AF_INET6, anyTable, 0), allRules(),
		} {
			if err := h.nl.Dump(r, func(body []byte) error { f.Add(append([]byte(nil), body...)); return nil }); err != nil {
				return err
			}
		}
		return nil
	})
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _ = decodeLink(body)
		_, _ = decodeNumber(body)
		_, _ = decodeAddr(body)
		_, _ = decodeNeigh(body)
		_, _ = decodeRoute(body)
		if r, _, err := decodeRule(body); err == nil {
			_ = r.String()
			_ = sameSelector(r.Rule, r.Rule)
		}
	})
}
