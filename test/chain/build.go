// Package chain builds the plugins and runs them in the nodes of the lab as a container runtime does: by libcni, or one
// call at a time with an environment and stdin.
package chain

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Binaries is a folder of built programs, to be removed by Remove.
type Binaries struct {
	Dir   string
	how   string   // the first were built, and so are those that are added
	flags []string // of the go command, for that
}

// race is the go command's flag for the race detector, which needs cgo.
const race = "-race"

// Build builds the plugins and the drivers.
func Build() (*Binaries, error) { return buildOurs("plain") }

// BuildRacing builds the plugins and the drivers with the race detector, which makes each call several times as dear.
func BuildRacing() (*Binaries, error) { return buildOurs("racing", race) }

// BuildRelease builds the plugins and the drivers as `make dist` does: static and stripped. So is what is added to them.
func BuildRelease() (*Binaries, error) {
	return buildOurs("release", "-trimpath", "-ldflags=-s -w")
}

func buildOurs(how string, flags ...string) (*Binaries, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	var packages []string
	for _, folder := range []string{"plugins/*/*", "cmd/*"} {
		found, err := filepath.Glob(filepath.Join(root, folder))
		if err != nil {
			return nil, err
		}
		packages = append(packages, found...)
	}
	dir, err := os.MkdirTemp("", "enichain-bin-")
	if err != nil {
		return nil, err
	}
	b := &Binaries{Dir: dir, how: how, flags: flags}
	if err := b.add(build{module: root, packages: packages}); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return b, nil
}

// AddOurs builds programs of ours that are no part of a release into the folder, by their folders below the module's.
func (b *Binaries) AddOurs(folders ...string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	var packages []string
	for _, folder := range folders {
		packages = append(packages, filepath.Join(root, folder))
	}
	return b.add(build{module: root, packages: packages})
}

// AddOutside builds programs of others, by their packages, into the folder.
func (b *Binaries) AddOutside(packages ...string) error { return b.AddModule("outside", packages...) }

// AddModule builds programs of one of the modules below test/, or that it pins, into the folder.
func (b *Binaries) AddModule(module string, packages ...string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	return b.add(build{of: module, module: filepath.Join(root, "test", module), packages: packages})
}

// AddOutsideAs builds a program of others into the folder, under the name given, as the module below test/outside pins it.
func (b *Binaries) AddOutsideAs(name, module, pkg string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	return b.add(build{of: "outside", module: filepath.Join(root, "test", "outside", module), name: name, packages: []string{pkg}})
}

// AddOutsideTest builds the tests of a package of others into the folder, under the name given.
func (b *Binaries) AddOutsideTest(name, pkg string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	return run(filepath.Join(root, "test", "outside"), false, "test", "-c", "-o", filepath.Join(b.Dir, name), pkg)
}

// AddTest builds the tests of a package of ours into the folder, under the name given, and without the race detector.
func (b *Binaries) AddTest(name, pkg string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	return run(root, false, "test", "-c", "-o", b.Path(name), pkg)
}

// Path is the path of one of the programs.
func (b *Binaries) Path(name string) string { return filepath.Join(b.Dir, name) }

// Remove removes the folder, once none of its programs runs any more.
func (b *Binaries) Remove() error { return errors.Join(b.AwaitEnd(), os.RemoveAll(b.Dir)) }

// endTimeout is how long programs that outlive the test that started them may still run: a refill's own bound.
const endTimeout = time.Minute

// AwaitEnd waits until no process runs one of the folder's programs: a refill outlives the call that started it, and
// would write again what a test has removed.
func (b *Binaries) AwaitEnd() error { return b.awaitEnd(func(string) bool { return true }) }

// AwaitEndIn is AwaitEnd for the processes in one network namespace, by a path to it.
func (b *Binaries) AwaitEndIn(netns string) error {
	within, err := inNetns(netns)
	if err != nil {
		return err
	}
	return b.awaitEnd(within)
}

// KillIn kills the process in a network namespace that choose picks of so many, where there are any, and says whether so.
func (b *Binaries) KillIn(netns string, choose func(n int) int) (killed bool, err error) {
	within, err := inNetns(netns)
	if err != nil {
		return false, err
	}
	running, err := b.running(within)
	if err != nil || len(running) == 0 {
		return false, err
	}
	link := running[choose(len(running))]
	pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
	if err != nil {
		return false, err
	}
	process, err := os.FindProcess(pid) // holds the process, not its number
	if err != nil {
		return false, err
	}
	defer func() { _ = process.Release() }()
	if now, err := b.running(within); err != nil || !slices.Contains(now, link) {
		return false, err // it has ended, and the number may be another's
	}
	err = process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		return false, nil
	}
	return err == nil, err
}

// inNetns says of a process, by its folder in /proc, whether it is in a network namespace.
func inNetns(netns string) (func(process string) bool, error) {
	within, err := os.Stat(netns)
	return func(process string) bool {
		info, err := os.Stat(filepath.Join(process, "ns/net"))
		return err == nil && os.SameFile(info, within)
	}, err
}

// awaitEnd waits for those processes, by their folders in /proc, that count.
func (b *Binaries) awaitEnd(counts func(process string) bool) error {
	deadline := time.Now().Add(endTimeout)
	for {
		running, err := b.running(counts)
		if err != nil || len(running) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("still running: %v", running)
		}
		time.Sleep(10 * time.Millisecond) // the end of another's child is no event that can be waited for
	}
}

// running returns the processes that count and run one of the folder's programs, by whatever path they were started.
func (b *Binaries) running(counts func(process string) bool) ([]string, error) {
	files, err := os.ReadDir(b.Dir)
	if err != nil {
		return nil, err
	}
	var programs []os.FileInfo
	for _, f := range files {
		if info, err := os.Stat(b.Path(f.Name())); err == nil {
			programs = append(programs, info)
		}
	}
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(links, func(link string) bool {
		info, err := os.Stat(link)
		ours := err == nil && slices.ContainsFunc(programs, func(p os.FileInfo) bool { return os.SameFile(p, info) })
		return !ours || !counts(filepath.Dir(link))
	}), nil
}

// run runs the go command in a folder. cgo is used for the race detector only, as in a release.
func run(dir string, cgo bool, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if cgo {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// moduleRoot is the folder of our go.mod, also where the test that runs is in another module of the repository.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/enichain/enichain").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
