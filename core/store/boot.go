package store

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/plainfile"
)

// BootID identifies this boot of the kernel (random(4)): what the store says of containers dies with it.
func BootID() (string, error) {
	id, err := plainfile.Read("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot ID: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}

// SinceBoot is the clock of Address.Since and Until (clock_gettime(2), CLOCK_BOOTTIME): it never jumps, and goes on
// while the machine sleeps.
func SinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err) // EINVAL or EFAULT only: the kernel is older than 2.6.39
	}
	return time.Duration(ts.Nano())
}
