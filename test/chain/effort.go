package chain

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Effort is what a program does in the course of a call, as far as it can be counted and does not drift.
type Effort struct {
	Processes int      // how often it was started
	Sends     int      // system calls that send to netlink
	Messages  int      // netlink messages in them
	Files     []string // opened for writing
	Ways      int      // paths to settings below /proc/sys/net, each of which the kernel looks for among those of all namespaces
}

// Add adds another's.
func (e *Effort) Add(other Effort) {
	e.Processes += other.Processes
	e.Sends += other.Sends
	e.Messages += other.Messages
	e.Files = append(e.Files, other.Files...)
	e.Ways += other.Ways
}

// Efforts counts with strace(1) what the plugins do in a call of the runtime, and the programs that they run, by the first
// 15 characters of their names.
func (r *Runtime) Efforts(call func() error) (map[string]Effort, error) {
	const log = "/run/strace.log"
	r.Wrap("strace", "-f", "-qq", "-Y", "-yy", "-v", "-s", "65536", "-A", "-o", log, "-e", "trace=execve,sendto,sendmsg,openat", "-e", "signal=none")
	defer r.Wrap()
	var text []byte
	err := errors.Join(call(), r.Node.Do(func() (err error) {
		text, err = os.ReadFile(log)
		return errors.Join(err, os.Remove(log))
	}))
	if err != nil {
		return nil, fmt.Errorf("count the steps of a call: %w", err)
	}
	return parseEfforts(string(text)), nil
}

// traced is a line of strace -f -Y: "123<eni-ptp> openat(AT_FDCWD</>, "/run/enichain/lock", O_RDWR|O_CLOEXEC) = 5<...>".
// Where another thread came between, the rest is on a later line, "<... openat resumed>".
var (
	traced  = regexp.MustCompile(`^\d+<([^>]*)> (\w+)\((.*)$`)
	opened  = regexp.MustCompile(`, "([^"]*)", (O_[A-Z_|]+)`)
	started = regexp.MustCompile(`^"([^"]*/)?([^"/]+)"`)
)

func parseEfforts(log string) map[string]Effort {
	all := map[string]Effort{}
	for line := range strings.Lines(log) {
		m := traced.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		name, call, args := m[1], m[2], m[3]
		if call == "execve" { // of which the line still has the starter's name
			if m := started.FindStringSubmatch(args); m != nil {
				name = m[2][:min(len(m[2]), 15)] // TASK_COMM_LEN, less the 0
			}
		}
		e := all[name]
		e.Add(effortOf(call, args))
		all[name] = e
	}
	return all
}

func effortOf(call, args string) Effort {
	switch call {
	case "execve":
		return Effort{Processes: 1}
	case "sendto", "sendmsg":
		if _, what, ok := strings.Cut(args, "<"); ok && strings.HasPrefix(what, "NETLINK:") {
			return Effort{Sends: 1, Messages: strings.Count(args, "nlmsg_len=")}
		}
	case "openat":
		m := opened.FindStringSubmatch(args)
		if m == nil {
			break
		}
		e := Effort{}
		if strings.Contains(m[2], "O_WRONLY") || strings.Contains(m[2], "O_RDWR") {
			e.Files = []string{m[1]}
		}
		if strings.HasPrefix(m[1], "/proc/sys/net/") {
			e.Ways = 1
		}
		return e
	}
	return Effort{}
}
