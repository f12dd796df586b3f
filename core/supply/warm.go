package supply

import (
	"context"

	"github.com/enichain/enichain/core/netconf"
)

// WarmTo grows the pool until n addresses are free, whatever "warm" says, and returns how many are. Where that many cannot
// be had, the error says why, and what was had before is kept.
func (s *Supply) WarmTo(ctx context.Context, n int) (free int, err error) {
	release, err := s.store.LockGrowth(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	conf := *s.conf
	conf.Warm = netconf.Warm{Min: n, Target: n}
	warmer := *s
	warmer.conf = &conf
	for before := -1; ; before = free {
		k, err := warmer.know(ctx)
		if err != nil {
			return free, err
		}
		free = warmer.state(k).Free()
		switch {
		case free >= n:
			return free, nil
		case free <= before: // it grew by nothing, and that was no error: others take as fast as it grows
			return free, warmer.full(k, nil)
		}
		if err := warmer.sleepOut(ctx, k.rests[restAPI]); err != nil {
			return free, err
		}
		if err := warmer.grow(ctx, k); err != nil {
			return free, err
		}
	}
}
