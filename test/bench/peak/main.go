// Command peak runs a program and appends the peak memory of it, and of each program that it runs, to a file, and how many pages it
// touched first: a line "name PID kB faults" for each thread that ends, of which a process's last has all. It reads VmHWM (proc_pid_status(5)) when they end, by ptrace(2): ru_maxrss of a process would count
// what its starter had in memory, since both share it until the execve (kernel, fs/exec.c, exec_mmap), and the largest of
// its children's.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

func main() {
	runtime.LockOSThread() // a tracee knows one thread
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "peak FILE PROGRAM [ARGUMENT...]")
		os.Exit(2)
	}
	status, err := run(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "peak:", err)
		os.Exit(1)
	}
	os.Exit(status)
}

func run(file string, line []string) (status int, err error) {
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	return trace(cmd.Process.Pid, out)
}

// trace follows a process that has stopped at its execve, and all that it starts, until the last ends.
func trace(pid int, out *os.File) (status int, err error) {
	var ws unix.WaitStatus
	if _, err := unix.Wait4(pid, &ws, unix.WALL, nil); err != nil {
		return 0, fmt.Errorf("wait for the execve: %w", err)
	}
	const options = unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACEEXIT | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK
	if err := errors.Join(unix.PtraceSetOptions(pid, options), unix.PtraceCont(pid, 0)); err != nil {
		return 0, fmt.Errorf("trace: %w", err)
	}
	for {
		tid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return status, nil
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case !ws.Stopped():
			if tid == pid {
				status = exitStatus(ws)
			}
			continue
		}
		if ws.TrapCause() == unix.PTRACE_EVENT_EXIT {
			if err := note(tid, out); err != nil {
				return 0, err
			}
		}
		if err := unix.PtraceCont(tid, passed(ws)); err != nil && !errors.Is(err, unix.ESRCH) {
			return 0, fmt.Errorf("continue: %w", err)
		}
	}
}

// passed is the signal that a stopped thread is to get: none where the stop is ptrace's own, a new thread's SIGSTOP or an
// event's SIGTRAP.
func passed(ws unix.WaitStatus) int {
	if s := ws.StopSignal(); s != unix.SIGSTOP && s != unix.SIGTRAP {
		return int(s)
	}
	return 0
}

func exitStatus(ws unix.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// note writes down the peak and the page faults of a thread's process.
func note(tid int, out *os.File) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return err
	}
	var name string
	var pid, peak int
	for line := range bytes.Lines(text) {
		_, _ = fmt.Sscanf(string(line), "Name: %s", &name)
		_, _ = fmt.Sscanf(string(line), "Tgid: %d", &pid)
		_, _ = fmt.Sscanf(string(line), "VmHWM: %d kB", &peak)
	}
	if peak == 0 {
		return nil // another thread of it has already ended the process's memory
	}
	faults, err := minorFaults(pid)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s %d %d %d\n", name, pid, peak, faults)
	return err
}

// minorFaults returns a process's of all its threads (minflt, proc_pid_stat(5)).
func minorFaults(pid int) (n int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, behind, _ := bytes.Cut(text, []byte(") ")) // the name
	const before = 7                              // state to flags
	fields := bytes.Fields(behind)
	if len(fields) <= before {
		return 0, fmt.Errorf("read %q: %w", text, unix.EBADMSG)
	}
	_, err = fmt.Sscan(string(fields[before]), &n)
	return n, err
}
