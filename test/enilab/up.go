package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/enichain/enichain/test/lab"
)

// holdCommand is what `enilab up` runs in the background. It is not for people.
const holdCommand = "hold"

// readyFD is where the holder tells `enilab up` how it went: ready, or else what failed.
const (
	readyFD = 3
	ready   = "ready"
)

// up starts a holder, and returns when the lab is up or has failed.
func up(args []string, stdout io.Writer) error {
	set, p := planFlags("up")
	if err := noOperands(set, args); err != nil {
		return err
	}
	s, err := stateOf(p.Name)
	if err != nil {
		return err
	}
	chooseConflist(set, p.Cloud, p.IPv6, &p.conflist)
	for _, path := range []*string{&p.bin, &p.conflist} { // the holder's working folder is another
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if err := startHolder(p.args(set)); err != nil {
		return err
	}
	view, err := s.view()
	if err != nil {
		return err
	}
	return view.print(stdout)
}

// startHolder runs this program again in the background, and waits for its word.
func startHolder(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // only read from
	holder := exec.Command(self, append([]string{holdCommand}, args...)...)
	holder.ExtraFiles = []*os.File{w} // readyFD
	holder.Dir = "/"
	holder.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a terminal's Ctrl-C is not for it
	if err := errors.Join(holder.Start(), w.Close()); err != nil {
		return fmt.Errorf("start the lab's holder: %w", err)
	}
	word, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("hear from the lab's holder: %w", err)
	}
	if string(word) == ready {
		return holder.Process.Release()
	}
	err = holder.Wait()
	if len(word) > 0 {
		return errors.New(string(word))
	}
	return fmt.Errorf("the lab's holder ended without a word: %w", err)
}

// hold is the background process: it has the lab until it is told to take it down.
func hold(args []string, _ io.Writer) error {
	word := os.NewFile(readyFD, "the pipe to enilab up")
	set, p := planFlags(holdCommand)
	if err := noOperands(set, args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	h, err := newHolder(ctx, p)
	if err != nil {
		_, told := word.WriteString(err.Error())
		return errors.Join(err, told)
	}
	if _, err := word.WriteString(ready); err != nil {
		return errors.Join(err, h.close())
	}
	if err := word.Close(); err != nil {
		return errors.Join(err, h.close())
	}
	select {
	case <-ctx.Done():
	case <-h.asked:
	}
	return h.close()
}

// newHolder locks the lab's name and builds the lab. Where that fails, nothing is left.
func newHolder(ctx context.Context, p *plan) (*holder, error) {
	s, err := stateOf(p.Name)
	if err != nil {
		return nil, err
	}
	lock, err := s.take()
	if err != nil {
		return nil, err
	}
	h := &holder{state: s, lock: lock, asked: make(chan struct{})}
	if err := h.start(ctx, p); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

func (h *holder) start(ctx context.Context, p *plan) error {
	// A holder that was killed has left its files; the lock says that it is dead.
	if err := os.Remove(h.state.socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := errors.Join(h.lock.Truncate(0), writeString(h.lock, strconv.Itoa(os.Getpid())+"\n")); err != nil {
		return err
	}
	if err := h.redirect(); err != nil {
		return err
	}
	var err error
	if h.lab, err = lab.Up(ctx, p.Options); err != nil {
		return err
	}
	h.options = p.Options
	if err := p.install(h.lab); err != nil {
		return err
	}
	return h.serve(ctx)
}

func writeString(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

// redirect sends what the runtime says of a crash to the log, since nobody else listens.
func (h *holder) redirect() error {
	f, err := os.OpenFile(h.state.log(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // descriptor 2 stays
	return syscall.Dup3(int(f.Fd()), 2, 0)
}

// down ends a lab. One that is not up is no error, and what a killed holder left is removed.
func down(args []string, stdout io.Writer) error {
	set, name := flags("down")
	if err := noOperands(set, args); err != nil {
		return err
	}
	s, err := stateOf(*name)
	if err != nil {
		return err
	}
	if !s.isUp() {
		_, err := fmt.Fprintf(stdout, "lab %s is not up\n", s.name)
		return errors.Join(err, s.sweep())
	}
	if err := s.call("POST", "/down", nil, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.free(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "lab %s is down\n", s.name)
	return err
}

// sweep removes what a killed holder left, unless another lab of that name comes up meanwhile.
func (s state) sweep() error {
	if !exists(s.dir()) {
		return nil
	}
	lock, err := s.take()
	if errors.Is(err, errTaken) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(s.remove(), lock.Close())
}

// list prints the labs that are up.
func list(args []string, stdout io.Writer) error {
	set := flag.NewFlagSet("enilab list", flag.ContinueOnError)
	if err := noOperands(set, args); err != nil {
		return err
	}
	labs, err := labsUp()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for _, s := range labs {
		fmt.Fprintf(&out, "%s%s\n", s.name, s.holder())
	}
	_, err = out.WriteTo(stdout)
	return err
}
