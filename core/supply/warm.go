package supply

import (
	"context"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netconf"
)

// WarmTo grows the pool until n addresses of each family are free, whatever "warm" says, and returns how many are. Where that
// many cannot be had, the error says why, and what was had before is kept.
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
		f, least := warmer.scarcest(k)
		free = least
		switch {
		case free >= n:
			return free, nil
		case free <= before: // it grew by nothing, and that was no error: others take as fast as it grows
			return free, warmer.full(k, f, nil)
		}
		if err := warmer.sleepOut(ctx, k.rests[restAPI]); err != nil {
			return free, err
		}
		if err := warmer.grow(ctx, k); err != nil {
			return free, err
		}
	}
}

// scarcest returns the family of which the fewest addresses are free, and how many those are.
func (s *Supply) scarcest(k *knowledge) (scarcest family.Family, free int) {
	for i, f := range s.conf.Families {
		if n := s.state(k, f).Free(); i == 0 || n < free {
			scarcest, free = f, n
		}
	}
	return scarcest, free
}
