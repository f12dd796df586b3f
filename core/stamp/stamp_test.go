package stamp

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/netstate/nstest"
)

// A stamp is the same until a fact, a table or the namespace is another.
func TestOf(t *testing.T) {
	one := nstest.New(t)
	tables := []Table{{unix.NFPROTO_IPV4, "one"}, {unix.NFPROTO_IPV6, "one"}}
	of := func(facts string, tables ...Table) (stamp string) {
		t.Helper()
		one.Do(func() (err error) { stamp, err = Of(facts, tables...); return err })
		return stamp
	}
	nft := func(args ...string) {
		t.Helper()
		one.Do(func() error { return exec.Command("nft", args...).Run() })
	}
	seen := map[string]string{}
	is := func(what, stamp string) {
		t.Helper()
		if before, ok := seen[stamp]; ok || stamp == "" {
			t.Errorf("%s has the stamp %q, as %q had", what, stamp, before)
		}
		seen[stamp] = what
	}
	first := of("facts", tables...)
	is("an empty namespace", first)
	if again := of("facts", tables...); again != first {
		t.Errorf("asked twice, the stamp is %q and %q", first, again)
	}
	is("another fact", of("fact", tables...))
	is("another list of tables", of("facts", tables[0]))
	nft("add", "table", "ip", "one")
	is("with a table", of("facts", tables...))
	nft("add", "chain", "ip", "one", "two")
	is("with a chain", of("facts", tables...))
	nft("flush", "ruleset")
	is("after a flush", of("facts", tables...))
	one = nstest.New(t)
	is("another namespace", of("facts", tables...))
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	f := In(dir, "stamp")
	if got := f.Read(); got != "" {
		t.Errorf("a file that is not there has %q", got)
	}
	f.Write("a b c")
	if got := f.Read(); got != "a b c" {
		t.Errorf("got %q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "stamp"), []byte("a b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := f.Read(); got == "a b c" {
		t.Error("a part is taken for the whole")
	}
	In(filepath.Join(dir, "none"), "stamp").Write("a") // is no matter
}
