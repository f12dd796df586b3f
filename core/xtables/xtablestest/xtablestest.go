// Package xtablestest gives tests a host whose iptables is of one variant.
package xtablestest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/xtables"
)

// Variants returns both.
func Variants() []xtables.Variant { return []xtables.Variant{xtables.NFT, xtables.Legacy} }

// Dir returns a folder whose iptables, iptables-save and iptables-restore, and those of ip6tables, are those of the variant,
// to be put before the others in PATH. It is removed when the test ends.
func Dir(t testing.TB, v xtables.Variant) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range family.All() {
		for _, suffix := range []string{"", "-save", "-restore"} {
			name := xtables.Name(f)
			real, err := xtables.Path(name + "-" + string(v) + suffix)
			if err == nil {
				err = os.Symlink(real, filepath.Join(dir, name+suffix))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}
