package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"github.com/containernetworking/cni/pkg/skel"
	"golang.org/x/sys/unix"
)

// refillWord is the argument by which eni-ipam, which takes none from a runtime, is told to bring the pool to its warm
// numbers.
const refillWord = "refill"

// refillDetached starts another eni-ipam that refills the pool, or gives back what is too much, and does not wait for it:
// the container that noticed has its address. It is no failure of the call where that cannot be.
func (c *call) refillDetached() {
	if err := c.startRefill(); err != nil {
		c.log.Warn("start a refill", "error", err)
	}
}

func (c *call) startRefill() error {
	// A file in memory: a pipe would end with this process.
	fd, err := unix.MemfdCreate("eni-ipam-configuration", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make a file in memory: %w", err)
	}
	conf := os.NewFile(uintptr(fd), "configuration")
	defer func() { _ = conf.Close() }()
	if _, err := conf.Write(c.args.StdinData); err != nil {
		return err
	}
	if _, err := conf.Seek(0, io.SeekStart); err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", refillWord)
	cmd.Stdin = conf
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what ends the runtime's call does not end the refill
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// refill is the detached process. It has nobody to tell of a failure but the log; the next ADD that has to wait says why.
func refill() {
	conf, err := io.ReadAll(os.Stdin)
	if err != nil {
		return
	}
	c, done, err := begin(&skel.CmdArgs{StdinData: conf, Path: os.Getenv("CNI_PATH")})
	if err != nil {
		return
	}
	defer done()
	if err := c.Refill(c.ctx); err != nil {
		c.log.Error("refill", "error", err)
	}
}
