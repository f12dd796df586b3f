package bench

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine is where a run was made.
type machine struct {
	kernel, cpu, goVersion string
	cpus                   int
	memory                 uint64 // octets
	when                   time.Time
}

func look() (machine, error) {
	var name unix.Utsname
	var info unix.Sysinfo_t
	if err := errors.Join(unix.Uname(&name), unix.Sysinfo(&info)); err != nil {
		return machine{}, err
	}
	return machine{
		kernel: unix.ByteSliceToString(name.Release[:]), cpu: model(), goVersion: runtime.Version(), cpus: runtime.NumCPU(),
		memory: uint64(info.Totalram) * uint64(info.Unit), when: time.Now().UTC(),
	}, nil
}

// model is what the processor is called; "unknown" where the kernel does not say.
func model() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return "unknown"
}

// peersOf says of which version a built program of others is, and of which the iptables that it runs.
func peersOf(program string) (string, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return "", err
	}
	tables, err := exec.Command("iptables", "-V").Output()
	if err != nil {
		return "", fmt.Errorf("ask iptables for its version: %w", err)
	}
	return fmt.Sprintf("%s %s, %s", info.Main.Path, info.Main.Version, strings.TrimSpace(string(tables))), nil
}

// busyShare is what others may take of the processors before the figures are doubtful.
const busyShare = 0.05

// ticks is the processors' time so far, in clock ticks: of other programs, what a hypervisor gave to others, and all.
type ticks struct{ others, stolen, total uint64 }

// readTicks reads /proc. The kernel's threads and this process with its descendants are not others; a process that ended is
// part of its parent, once that has waited for it.
func readTicks() (ticks, error) {
	var t ticks
	text, err := os.ReadFile("/proc/stat") // proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal
	if err != nil {
		return t, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(first)[1:9] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return t, fmt.Errorf("read /proc/stat: %w", err)
		}
		t.total += n
		if i == 7 {
			t.stolen = n
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return t, err
	}
	var all []process
	for _, path := range processes {
		if text, err := os.ReadFile(path); err == nil { // else it has ended
			p, err := parseProcess(string(text))
			if err != nil {
				return t, fmt.Errorf("read %s: %w", path, err)
			}
			all = append(all, p)
		}
	}
	for _, p := range others(all, os.Getpid()) {
		t.others += p.ticks
	}
	return t, nil
}

// process is a line of /proc/PID/stat, as far as it matters; ticks are its own and its children's that it waited for.
type process struct {
	pid, parent int
	ticks       uint64
}

// parseProcess reads a line (proc_pid_stat(5)). The second field is a name in brackets, with whatever in it.
func parseProcess(line string) (process, error) {
	var p process
	end := strings.LastIndexByte(line, ')')
	if end < 0 {
		return p, errors.New("it has no name")
	}
	fields := strings.Fields(line[end+1:]) // from the third on
	if len(fields) < 15 {
		return p, fmt.Errorf("it has %d fields behind the name", len(fields))
	}
	_, err := fmt.Sscan(line, &p.pid)
	if err == nil {
		p.parent, err = strconv.Atoi(fields[1])
	}
	for _, field := range fields[11:15] { // utime, stime, cutime, cstime
		n, failed := strconv.ParseUint(field, 10, 64)
		p.ticks, err = p.ticks+n, errors.Join(err, failed)
	}
	return p, err
}

// others leaves out a process and its descendants, and the kernel's threads, which descend from process 2.
func others(all []process, self int) []process {
	parents := map[int]int{}
	for _, p := range all {
		parents[p.pid] = p.parent
	}
	return slices.DeleteFunc(all, func(p process) bool {
		for pid := p.pid; pid != 0; pid = parents[pid] {
			if pid == self || pid == 2 {
				return true
			}
		}
		return false
	})
}

// sharesSince returns what share of the processors' time other programs took since then, and what a hypervisor gave away.
func (t ticks) sharesSince(then ticks) (others, stolen float64) {
	total := float64(max(1, t.total-then.total))
	return max(0, float64(t.others)-float64(then.others)) / total, float64(t.stolen-then.stolen) / total
}
