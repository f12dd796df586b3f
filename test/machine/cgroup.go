package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupRoots are where hierarchies of control groups are mounted: the folders below it with version 1, itself with 2.
const cgroupRoots = "/sys/fs/cgroup"

// cgroupFormat names a machine's control group by the process that made the machine, so that those of dead ones are known.
const cgroupFormat = "/enichain-%d-%s"

// Cgroups returns the folders of the machine's control groups, parents first.
func (m *Machine) Cgroups() ([]string, error) { return cgroups(m.Cgroup) }

// cgroups returns the folders of control groups below a pattern, parents first.
func cgroups(pattern string) ([]string, error) {
	var all []string
	for _, root := range []string{cgroupRoots, cgroupRoots + "/*"} {
		tops, err := filepath.Glob(root + pattern)
		if err != nil {
			return nil, err
		}
		for _, top := range tops {
			err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					all = append(all, path)
				}
				return ignoreGone(err)
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

func (m *Machine) removeCgroups() error {
	all, err := m.Cgroups()
	for _, dir := range slices.Backward(all) {
		err = errors.Join(err, ignoreGone(os.Remove(dir)))
	}
	return err
}

// sweepCgroups removes what machines left whose test was killed. It is nobody's failure where that cannot be.
func sweepCgroups() {
	left, _ := cgroups("/enichain-*")
	for _, dir := range slices.Backward(left) {
		var maker int
		if i := strings.Index(dir, "/enichain-"); i >= 0 {
			_, _ = fmt.Sscanf(dir[i:], "/enichain-%d-", &maker)
		}
		if maker != 0 && errors.Is(unix.Kill(maker, 0), unix.ESRCH) {
			_ = os.Remove(dir) // refused while a process is in it
		}
	}
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
