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

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/xtables"
	"github.com/enichain/enichain/core/xtables/legacytables"
	"github.com/enichain/enichain/core/xtables/xtablestest"
)

// in runs a test in a namespace of its own, on each variant of each family.
func in(t *testing.T, test func(t *testing.T, w words, v xtables.Variant, p *xtables.Program)) {
	t.Helper()
	for _, w := range []words{{family.IPv4, family.IPv6, "10.0.0.0/8"}, {family.IPv6, family.IPv4, "fd00::/8"}} {
		for _, v := range xtablestest.Variants() {
			t.Run(xtables.Name(w.family)+"-"+string(v), func(t *testing.T) {
				t.Setenv("PATH", xtablestest.Dir(t, v))
				nstest.New(t).Do(func() error {
					p, err := xtables.Find(t.Context(), xtables.Name(w.family))
					if err != nil {
						return err
					}
					test(t, w, v, p)
					return nil
				})
			})
		}
	}
}

// words are those of a family.
type words struct {
	family, other family.Family
	prefix        string
}

// rules are some for iptables-restore.
func (w words) rules() string {
	return `*mangle
:ENI-A - [0:0]
-A ENI-A -d ` + w.prefix + ` -j RETURN
-A PREROUTING -m comment --comment "two words" -j ENI-A
COMMIT
*nat
-A POSTROUTING -o eth0 -j ACCEPT
COMMIT
`
}

// TestPrograms shows that what is written is read back, and that the kernel says which variant of which family has it.
func TestPrograms(t *testing.T) {
	in(t, func(t *testing.T, w words, v xtables.Variant, p *xtables.Program) {
		other := map[xtables.Variant]xtables.Variant{xtables.NFT: xtables.Legacy, xtables.Legacy: xtables.NFT}[v]
		if got, err := p.Variant(t.Context()); got != v || err != nil {
			t.Errorf("variant %s: %v", got, err)
		}
		holds := func(f family.Family, v xtables.Variant, chain string, want bool) {
			t.Helper()
			if got, err := v.Holds(f, "mangle", chain); got != want || err != nil {
				t.Errorf("%s of %s holds %s: %v, want %v: %v", xtables.Name(f), v, chain, got, want, err)
			}
			if used, err := v.Used(f); want && !used || err != nil {
				t.Errorf("%s of %s is used: %v: %v", xtables.Name(f), v, used, err)
			}
		}
		holds(w.family, v, "ENI-A", false)
		for _, f := range family.All() {
			if tables, err := legacytables.Of(f); len(tables) > 0 || err != nil {
				t.Errorf("asking made legacy tables: %v, %v", tables, err)
			}
			for _, v := range xtablestest.Variants() {
				if used, err := v.Used(f); used || err != nil {
					t.Errorf("%s of %s is used: %v: %v", xtables.Name(f), v, used, err)
				}
			}
		}
		if err := p.Restore(t.Context(), w.rules()); err != nil {
			t.Fatal(err)
		}
		holds(w.family, v, "ENI-A", true)
		holds(w.family, v, "ENI-", false)
		holds(w.family, other, "ENI-A", false)
		holds(w.other, v, "ENI-A", false)
		lines, err := p.Table(t.Context(), "mangle")
		for _, want := range []string{"-N ENI-A", "-A ENI-A -d " + w.prefix + " -j RETURN", `-A PREROUTING -m comment --comment "two words" -j ENI-A`} {
			if !slices.Contains(lines, want) || err != nil {
				t.Errorf("no %q in %q: %v", want, lines, err)
			}
		}
		if policy, listed, err := p.Chain(t.Context(), "nat", "POSTROUTING"); !slices.Equal(listed, []string{"-A POSTROUTING -o eth0 -j ACCEPT"}) || policy != "ACCEPT" || err != nil {
			t.Errorf("listed %q: %v", listed, err)
		}
		for target, want := range map[string]bool{"RETURN": true, "ACCEPT": false} {
			if has, err := p.Exists("mangle", "ENI-A", []string{"-d", w.prefix, "-j", target}); has != want || err != nil {
				t.Errorf("exists with %s: %v, %v", target, has, err)
			}
		}
	})
}

// TestLegacyDrops shows that the kernel tells the policy of a chain, and that asking makes no table.
func TestLegacyDrops(t *testing.T) {
	in(t, func(t *testing.T, w words, v xtables.Variant, p *xtables.Program) {
		for _, step := range []struct {
			text string
			want bool
		}{
			{"", false},
			{"*nat\nCOMMIT\n", false},
			{"*filter\n-A FORWARD -j DROP\n-A INPUT -s " + w.prefix + " -m comment --comment x -j ACCEPT\nCOMMIT\n", false},
			{"*filter\n:FORWARD DROP [0:0]\nCOMMIT\n", v == xtables.Legacy},
			{"*filter\n:FORWARD ACCEPT [0:0]\n:INPUT DROP [0:0]\nCOMMIT\n", false},
		} {
			if step.text != "" {
				if err := p.Restore(t.Context(), step.text); err != nil {
					t.Fatal(err)
				}
			}
			if drops, err := xtables.LegacyDrops(w.family, "filter"); drops != step.want || err != nil {
				t.Errorf("after %q: drops is %v, %v", step.text, drops, err)
			}
			if drops, err := xtables.LegacyDrops(w.other, "filter"); drops || err != nil {
				t.Errorf("after %q: the other family drops: %v", step.text, err)
			}
		}
		if tables, err := legacytables.Of(w.family); v == xtables.NFT && len(tables) > 0 || err != nil {
			t.Errorf("asking made legacy tables: %v, %v", tables, err)
		}
	})
}

// TestRestoreIsWhole shows that of a table either all is done or nothing is, and that the error says why.
func TestRestoreIsWhole(t *testing.T) {
	in(t, func(t *testing.T, w words, v xtables.Variant, p *xtables.Program) {
		err := p.Restore(t.Context(), strings.Replace(w.rules(), "COMMIT", "-A ENI-A -j NO-SUCH-CHAIN\nCOMMIT", 1))
		if err == nil || !strings.Contains(err.Error(), xtables.Name(w.family)+"-restore --noflush --wait") || !strings.Contains(err.Error(), "NO-SUCH-CHAIN") &&
			!strings.Contains(err.Error(), "line 5") {
			t.Errorf("error: %v", err)
		}
		if holds, err := v.Holds(w.family, "mangle", "ENI-A"); holds || err != nil {
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
		if err := p.Restore(ctx, words{prefix: "10.0.0.0/8"}.rules()); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, xtables.ErrBusy) {
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
		for _, f := range family.All() {
			p, err := xtables.FindVariant(t.Context(), v, f)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := p.Variant(t.Context()); got != v || err != nil {
				t.Errorf("found %s for %s: %v", got, v, err)
			}
		}
	}
}
