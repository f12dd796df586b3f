package chain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/flock"
)

// build is what the go command builds: packages of a module.
type build struct {
	of       string // whose programs, where they are not ours
	module   string // its folder
	packages []string
	name     string // of the one program, where it is not the package's
}

// add builds programs and copies them into the folder. They stay in bin/test too: each package's tests need them, and the go
// command links none again that is as it would be.
func (b *Binaries) add(of build) (err error) {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	kept := filepath.Join(root, "bin", "test", b.how, of.of)
	if err := os.MkdirAll(kept, 0o755); err != nil {
		return err
	}
	lock, err := os.Open(kept)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := flock.Take(context.Background(), lock, unix.LOCK_EX); err != nil {
		return err
	}
	args := append([]string{"build", "-buildvcs=false", "-o", filepath.Join(kept, of.name)}, b.flags...)
	if err := run(of.module, slices.Contains(b.flags, race), append(args, of.packages...)...); err != nil {
		return err
	}
	return of.copyTo(b, kept)
}

// copyTo copies what the folder has not got yet. It is cp that writes: a program cannot be started while a process has it
// open to write, and each child of ours that starts meanwhile would.
func (of build) copyTo(b *Binaries, kept string) error {
	var missing []string
	for _, name := range of.names() {
		if _, err := os.Stat(b.Path(name)); err != nil {
			missing = append(missing, filepath.Join(kept, name))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if out, err := exec.Command("cp", append([]string{"-t", b.Dir}, missing...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", strings.Join(missing, ", "), err, out)
	}
	return nil
}

func (of build) names() []string {
	if of.name != "" {
		return []string{of.name}
	}
	var names []string
	for _, pkg := range of.packages {
		names = append(names, filepath.Base(pkg))
	}
	return names
}
