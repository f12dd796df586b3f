package legacytables

import (
	"os/exec"
	"slices"
	"testing"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netstate/nstest"
)

func TestOf(t *testing.T) {
	for f, program := range map[family.Family]string{family.IPv4: "iptables-legacy", family.IPv6: "ip6tables-legacy"} {
		nstest.New(t).Do(func() error {
			if tables, err := Of(f); len(tables) > 0 || err != nil {
				t.Errorf("a new namespace has %q, %v", tables, err)
			}
			if out, err := exec.Command(program, "-t", "mangle", "-L").CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			if tables, err := Of(f); !slices.Equal(tables, []string{"mangle"}) || err != nil {
				t.Errorf("after a list of mangle it has %q, %v", tables, err)
			}
			return nil
		})
	}
}
