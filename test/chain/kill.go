package chain

import "fmt"

// steps are the system calls that change something, or hand over to something that does: the network, files, processes.
const steps = "sendto,sendmsg,write,pwrite64,fdatasync,ftruncate,openat,mkdirat,renameat,unlinkat,flock,execve,clone,clone3"

// MaxSteps bounds the search for the last step, should a program never end by itself.
const MaxSteps = 400

// KilledAt is a command line under which a program, or one that it starts, dies by SIGKILL when it enters its nth step.
func KilledAt(n int) []string {
	return []string{
		"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + steps,
		"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", steps, n),
	}
}
