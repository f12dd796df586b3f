package e2e

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/enichain/enichain/test/chain"
)

// A plugin is what a node pays for each container: it stays small, static, and free of what only a driver needs.
func TestReleaseBinaries(t *testing.T) {
	t.Parallel()
	release, err := chain.BuildRelease()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = release.Remove() })
	built, err := filepath.Glob(release.Path("eni-*"))
	if err != nil || len(built) != 5 {
		t.Fatalf("built %v, %v", built, err)
	}
	for _, path := range built {
		if f, err := elf.Open(path); err != nil || f.Section(".interp") != nil {
			t.Errorf("%s is not static: %v", path, err)
		}
	}
	const most = 6 << 20
	for name, pkg := range map[string]string{
		"eni-ipam": "./plugins/ipam/eni-ipam", "eni-ptp": "./plugins/main/eni-ptp", "eni-snat": "./plugins/meta/eni-snat",
	} {
		if info, err := os.Stat(release.Path(name)); err != nil || info.Size() > most {
			t.Errorf("%s has %d bytes, more than %d: %v", name, info.Size(), most, err)
		}
		list := exec.Command("go", "list", "-deps", pkg)
		list.Dir = filepath.Join("..", "..")
		deps, err := list.Output()
		if err != nil {
			t.Fatal(err)
		}
		for dep := range strings.Lines(string(deps)) {
			dep = strings.TrimSpace(dep)
			if dep == "net/http" || strings.Contains(dep, "aws") || strings.Contains(dep, "tencent") {
				t.Errorf("%s links %s", name, dep)
			}
		}
	}
}
