package netstate

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/plainfile"
)

// settings are the open folders of a namespace's sysctls, /proc/sys/net/ipv4 and its like. The kernel finds the folders of all
// namespaces in one chain, with a comparison for each (proc_sys_compare, fs/proc/proc_sysctl.c), so that every path from the root
// on costs a third of a millisecond beside a thousand containers, and one that begins here costs what it always did.
type settings map[string]plainfile.Dir

func (s settings) close() {
	for _, dir := range s {
		_ = dir.Close()
	}
}

// find returns the folder that has a sysctl, and its name there.
func (s settings) find(key string) (dir plainfile.Dir, name string, err error) {
	parts := strings.SplitN(key, "/", 3)
	if len(parts) < 3 {
		return 0, "", fmt.Errorf("sysctl %s is not one of a namespace: %w", key, fs.ErrInvalid)
	}
	path, name := "/proc/sys/"+parts[0]+"/"+parts[1], parts[2]
	dir, ok := s[path]
	if !ok {
		if dir, err = plainfile.OpenDir(path); err == nil {
			s[path] = dir
		}
	}
	return dir, name, err
}

// Sysctl reads a value. The calling thread has to be in the handle's namespace.
func (h *Handle) Sysctl(key string) (string, error) {
	dir, name, err := h.settings.find(key)
	var value []byte
	if err == nil {
		value, err = dir.Read(name)
	}
	if err != nil {
		return "", fmt.Errorf("read sysctl %s: %w", key, err)
	}
	return strings.TrimSpace(string(value)), nil
}

// setSysctl writes a value that differs. Writing ip_forward has effects of its own even where it does not differ
// (Documentation/networking/ip-sysctl.rst).
func (h *Handle) setSysctl(s layout.Sysctl) error {
	value, err := h.Sysctl(s.Key)
	if err != nil || !s.Lacks(value) {
		return err
	}
	dir, name, err := h.settings.find(s.Key)
	if err != nil {
		return err
	}
	return dir.Write(name, []byte(s.Value))
}

func (h *Handle) diffSysctl(s layout.Sysctl) (string, error) {
	got, err := h.Sysctl(s.Key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("sysctl %s is missing", s.Key), nil
	case err != nil:
		return "", err
	case s.Lacks(got):
		return fmt.Sprintf("sysctl %s is %s, not %s", s.Key, got, s.Value), nil
	}
	return "", nil
}
