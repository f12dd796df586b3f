package marking

import (
	"errors"
	"testing"

	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate/nstest"
)

func TestExpedited(t *testing.T) {
	for _, tt := range []struct {
		expedited, normal string
		want              bool
	}{{"0", "0", false}, {"1", "0", true}, {"1", "", true}, {"1", "1", false}, {"0", "1", false}, {"", "", false}} {
		if got := expedited(tt.expedited, tt.normal); got != tt.want {
			t.Errorf("rcu_expedited %q, rcu_normal %q: %v", tt.expedited, tt.normal, got)
		}
	}
}

// Choose goes by the machine's own setting, which is not the test's to change.
func TestChoose(t *testing.T) {
	nstest.New(t).Do(func() error {
		by, against, err := Choose(1)
		short := expedited(setting("rcu_expedited"), setting("rcu_normal"))
		switch {
		case err != nil:
		case !short && (by != netconf.NFTables || !errors.Is(against, ErrWaits)),
			short && by == netconf.TCX && against != nil,
			short && by == netconf.NFTables && !errors.Is(against, ErrNoTCX):
			t.Errorf("with short grace periods %v, %q is chosen, and %v speaks against tcx", short, by, against)
		}
		return err
	})
}
