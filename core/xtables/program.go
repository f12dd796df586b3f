// Package xtables runs the iptables programs of the host, in the network namespace of the calling thread, and asks the
// kernel which of the two variants, legacy and nf_tables, holds what. It knows nothing of what the rules mean.
package xtables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-iptables/iptables"

	"github.com/enichain/enichain/core/family"
)

// ErrMissing says that the host has no such program.
var ErrMissing = errors.New("not installed")

// ErrBusy says that another process held the lock of the legacy variant, /run/xtables.lock, for as long as could be waited.
var ErrBusy = errors.New("another process holds the xtables lock")

// Name returns what a family's program is called, be it of one variant or the other.
func Name(f family.Family) string {
	if f == family.IPv6 {
		return "ip6tables"
	}
	return "iptables"
}

// Program is one variant's set of programs for one family: iptables and iptables-restore, or ip6tables and
// ip6tables-restore.
type Program struct {
	path  string
	ipt   *iptables.IPTables
	waits bool // iptables-restore knows --wait, and iptables for how long
}

// Find returns the programs with the name, "iptables" or that of one variant, such as "ip6tables-legacy", and whose
// sibling ends in "-restore". A runtime's PATH may lack the folders of the administrator's programs: these are
// looked at as well. An error is ErrMissing, or says how the program failed. Calls wait for the lock for as long as ctx
// lets them.
func Find(ctx context.Context, name string) (*Program, error) {
	path, err := Path(name)
	if err != nil {
		return nil, err
	}
	ipt, err := iptables.New(iptables.Path(path), iptables.Timeout(seconds(ctx)))
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", path, err)
	}
	// The option of iptables-restore came with this one (1.6.2).
	return &Program{path: path, ipt: ipt, waits: ipt.HasRandomFully()}, nil
}

// Path returns where a program is, or ErrMissing.
func Path(name string) (string, error) {
	folders := slices.Concat(filepath.SplitList(os.Getenv("PATH")), []string{"/usr/local/sbin", "/usr/sbin", "/sbin"})
	for _, dir := range folders {
		if !filepath.IsAbs(dir) {
			continue
		}
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is neither in PATH nor in /usr/sbin: %w", name, ErrMissing)
}

// seconds is how long a program may wait: until ctx ends, and one at the least; 0 is for ever.
func seconds(ctx context.Context) int {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(1, int(math.Ceil(time.Until(deadline).Seconds())))
}

// RandomFully says whether the target SNAT knows --random-fully (iptables 1.6.2).
func (p *Program) RandomFully() bool { return p.ipt.HasRandomFully() }

// Variant says which one this is: by the name of the program behind all of its names, or by `iptables --version`. Before
// iptables 1.8 there was but the legacy one.
func (p *Program) Variant(ctx context.Context) (Variant, error) {
	if real, err := filepath.EvalSymlinks(p.path); err == nil {
		for _, v := range []Variant{NFT, Legacy} {
			if strings.Contains(filepath.Base(real), string(v)) {
				return v, nil
			}
		}
	}
	out, err := p.run(ctx, p.path, "", "--version")
	if err != nil {
		return "", err
	}
	if strings.Contains(out, "nf_tables") {
		return NFT, nil
	}
	return Legacy, nil
}

// FindVariant returns a family's programs of one variant: those with its name, or those that are iptables, or ip6tables,
// here.
func FindVariant(ctx context.Context, v Variant, f family.Family) (*Program, error) {
	p, err := Find(ctx, Name(f)+"-"+string(v))
	if !errors.Is(err, ErrMissing) {
		return p, err
	}
	missing := err
	if p, err = Find(ctx, Name(f)); err != nil {
		return nil, err
	}
	if own, err := p.Variant(ctx); err != nil || own != v {
		return nil, errors.Join(missing, err)
	}
	return p, nil
}

// Table returns what `iptables -t TABLE -S` prints: each chain that is not the kernel's as "-N CHAIN", and each rule as
// "-A CHAIN RULE". iptables-save prints the same, but reads all tables for one (iptables 1.8, nf_tables), and kube-proxy's
// is long.
func (p *Program) Table(ctx context.Context, table string) ([]string, error) {
	lines, err := p.list(ctx, "-t", table, "-S")
	return slices.DeleteFunc(lines, func(l string) bool { return !strings.HasPrefix(l, "-A ") && !strings.HasPrefix(l, "-N ") }), err
}

// Chain returns the policy of one chain, which only the kernel's have, and its rules, as Table gives them. It costs less
// where the table is large.
func (p *Program) Chain(ctx context.Context, table, chain string) (policy string, rules []string, err error) {
	lines, err := p.list(ctx, "-t", table, "-S", chain)
	for _, l := range lines {
		if strings.HasPrefix(l, "-A ") {
			rules = append(rules, l)
		} else if after, ok := strings.CutPrefix(l, "-P "+chain+" "); ok {
			policy = after
		}
	}
	return policy, rules, err
}

// list returns the lines of a listing.
func (p *Program) list(ctx context.Context, args ...string) ([]string, error) {
	out, err := p.run(ctx, p.path, "", append(args, p.wait(ctx)...)...)
	return strings.Split(strings.TrimSpace(out), "\n"), err
}

// wait returns the option by which a program waits for the lock until ctx ends, where it knows it.
func (p *Program) wait(ctx context.Context) []string {
	switch n := seconds(ctx); {
	case !p.waits:
		return nil
	case n == 0:
		return []string{"--wait"}
	default:
		return []string{"--wait", strconv.Itoa(n)}
	}
}

// Exists says whether the chain has the rule, whatever words this version of iptables has for it.
func (p *Program) Exists(table, chain string, rule []string) (bool, error) {
	has, err := p.ipt.Exists(table, chain, rule...)
	return has, ofIPTables(err)
}

// Restore hands text to `iptables-restore --noflush`: of each table in it, all is done or nothing is, and no packet sees
// a part of it.
func (p *Program) Restore(ctx context.Context, text string) error {
	_, err := p.run(ctx, p.path+"-restore", text, append([]string{"--noflush"}, p.wait(ctx)...)...)
	return err
}

// busy is the exit status of a program that did not get the lock (RESOURCE_PROBLEM, include/xtables.h).
const busy = 4

// run runs a program with text on its stdin, and returns what it printed. It ends with ctx.
func (p *Program) run(ctx context.Context, path, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	if err == nil {
		return stdout.String(), nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == busy {
		err = ErrBusy
	}
	if text := strings.TrimSpace(stderr.String()); text != "" {
		return "", fmt.Errorf("run %s %s: %w: %s", path, strings.Join(args, " "), err, text)
	}
	return "", fmt.Errorf("run %s %s: %w", path, strings.Join(args, " "), err)
}

// ofIPTables marks the library's error where the lock was the matter.
func ofIPTables(err error) error {
	var e *iptables.Error
	if errors.As(err, &e) && e.ExitStatus() == busy {
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return err
}
