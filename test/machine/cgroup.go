package machine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// cgroupRoots are where hierarchies of control groups are mounted: the folders below it with version 1, itself with 2.
const cgroupRoots = "/sys/fs/cgroup"

// Cgroups returns the folders of the machine's control groups, parents first.
func (m *Machine) Cgroups() ([]string, error) {
	var all []string
	for _, pattern := range []string{cgroupRoots + m.Cgroup, cgroupRoots + "/*" + m.Cgroup} {
		tops, err := filepath.Glob(pattern)
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

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
