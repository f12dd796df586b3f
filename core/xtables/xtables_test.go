package xtables_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/xtables"
	"github.com/enichain/enichain/core/xtables/xtablestest"
)

// in runs a test in a namespace of its own, on each variant.
func in(t *testing.T, test func(t *testing.T, v xtables.Variant, p *xtables.Program)) {
	t.Helper()
	for _, v := range xtablestest.Variants() {
		t.Run(string(v), func(t *testing.T) {
			t.Setenv("PATH", xtablestest.Dir(t, v))
			nstest.New(t).Do(func() error {
				p, err := xtables.Find(t.Context(), "iptables")
				if err != nil {
					return err
				}
				test(t, v, p)
				return nil
			})
		})
	}
}

const rules = `*mangle
:ENI-A - [0:0]
-A ENI-A -d 10.0.0.0/8 -j RETURN
-A PREROUTING -m comment --comment "two words" -j ENI-A
COMMIT
*nat
-A POSTROUTING -o eth0 -j ACCEPT
COMMIT
`

// TestPrograms shows that what is written is read back, and that the kernel says which variant has it.
func TestPrograms(t *testing.T) {
	in(t, func(t *testing.T, v xtables.Variant, p *xtables.Program) {
		other := map[xtables.Variant]xtables.Variant{xtables.NFT: xtables.Legacy, xtables.Legacy: xtables.NFT}[v]
		if got, err := p.Variant(t.Context()); got != v || err != nil {
			t.Errorf("variant %s: %v", got, err)
		}
		holds := func(v xtables.Variant, chain string, want bool) {
			t.Helper()
			if got, err := v.Holds("mangle", chain); got != want || err != nil {
				t.Errorf("%s holds %s: %v, want %v: %v", v, chain, got, want, err)
			}
		}
		holds(v, "ENI-A", false)
		if tables, err := xtables.LegacyTables(); len(tables) > 0 || err != nil {
			t.Errorf("asking made legacy tables: %v, %v", tables, err)
		}
		if err := p.Restore(t.Context(), rules); err != nil {
			t.Fatal(err)
		}
		holds(v, "ENI-A", true)
		holds(v, "ENI-", false)
		holds(other, "ENI-A", false)
		lines, err := p.Table(t.Context(), "mangle")
		for _, want := range []string{"-N ENI-A", "-A ENI-A -d 10.0.0.0/8 -j RETURN", `-A PREROUTING -m comment --comment "two words" -j ENI-A`} {
			if !slices.Contains(lines, want) || err != nil {
				t.Errorf("no %q in %q: %v", want, lines, err)
			}
		}
		if policy, listed, err := p.Chain(t.Context(), "nat", "POSTROUTING"); !slices.Equal(listed, []string{"-A POSTROUTING -o eth0 -j ACCEPT"}) || policy != "ACCEPT" || err != nil {
			t.Errorf("listed %q: %v", listed, err)
		}
		for target, want := range map[string]bool{"RETURN": true, "ACCEPT": false} {
			if has, err := p.Exists("mangle", "ENI-A", []string{"-d", "10.0.0.0/8", "-j", target}); has != want || err != nil {
				t.Errorf("exists with %s: %v, %v", target, has, err)
			}
		}
	})
}

// TestLegacyDrops shows that the kernel tells the policy of a chain, and that asking makes no table.
func TestLegacyDrops(t *testing.T) {
	in(t, func(t *testing.T, v xtables.Variant, p *xtables.Program) {
		for _, step := range []struct {
			text string
			want bool
		}{
			{"", false},
			{"*nat\nCOMMIT\n", false},
			{"*filter\n-A FORWARD -j DROP\n-A INPUT -s 10.0.0.1 -m comment --comment x -j ACCEPT\nCOMMIT\n", false},
			{"*filter\n:FORWARD DROP [0:0]\nCOMMIT\n", v == xtables.Legacy},
			{"*filter\n:FORWARD ACCEPT [0:0]\n:INPUT DROP [0:0]\nCOMMIT\n", false},
		} {
			if step.text != "" {
				if err := p.Restore(t.Context(), step.text); err != nil {
					t.Fatal(err)
				}
			}
			if drops, err := xtables.LegacyDrops("filter"); drops != step.want || err != nil {
				t.Errorf("after %q: drops is %v, %v", step.text, drops, err)
			}
		}
		if tables, err := xtables.LegacyTables(); v == xtables.NFT && len(tables) > 0 || err != nil {
			t.Errorf("asking made legacy tables: %v, %v", tables, err)
		}
	})
}

// TestRestoreIsWhole shows that of a table either all is done or nothing is, and that the error says why.
func TestRestoreIsWhole(t *testing.T) {
	in(t, func(t *testing.T, v xtables.Variant, p *xtables.Program) {
		err := p.Restore(t.Context(), strings.Replace(rules, "COMMIT", "-A ENI-A -j NO-SUCH-CHAIN\nCOMMIT", 1))
		if err == nil || !strings.Contains(err.Error(), "iptables-restore --noflush --wait") || !strings.Contains(err.Error(), "NO-SUCH-CHAIN") &&
			!strings.Contains(err.Error(), "line 5") {
			t.Errorf("error: %v", err)
		}
		if holds, err := v.Holds("mangle", "ENI-A"); holds || err != nil {
			t.Errorf("half of a table was written: %v", err)
		}
	})
}

// TestLocked shows that the wait for the lock of the legacy variant ends, and says so.
func TestLocked(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "lock")
	t.Setenv("XTABLES_LOCKFILE", lock)
	file, err := os.Create(lock)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", xtablestest.Dir(t, xtables.Legacy))
	nstest.New(t).Do(func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p, err := xtables.Find(ctx, "iptables")
		if err != nil {
			return err
		}
		if _, err := p.Exists("nat", "POSTROUTING", []string{"-j", "ACCEPT"}); !errors.Is(err, xtables.ErrBusy) {
			t.Errorf("exists: %v", err)
		}
		if _, _, err := p.Chain(ctx, "nat", "POSTROUTING"); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, xtables.ErrBusy) {
			t.Errorf("list: %v", err)
		}
		if err := p.Restore(ctx, rules); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, xtables.ErrBusy) {
			t.Errorf("restore: %v", err)
		}
		return nil
	})
}

// TestFind shows that programs are found where PATH does not lead, and what is said where there are none.
func TestFind(t *testing.T) {
	for _, path := range []string{"", "/nowhere", ".:relative"} {
		t.Setenv("PATH", path)
		if got, err := xtables.Path("iptables"); err != nil || !filepath.IsAbs(got) {
			t.Errorf("PATH=%s: %s, %v", path, got, err)
		}
	}
	_, err := xtables.Find(t.Context(), "iptables-of-none")
	if !errors.Is(err, xtables.ErrMissing) || !strings.Contains(err.Error(), "iptables-of-none is neither in PATH nor in /usr/sbin") {
		t.Errorf("missing: %v", err)
	}
	for _, v := range xtablestest.Variants() {
		p, err := xtables.FindVariant(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Variant(t.Context()); got != v || err != nil {
			t.Errorf("found %s for %s: %v", got, v, err)
		}
	}
}
