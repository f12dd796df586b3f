package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/supply"
)

// settledAge is how long a container must have had an address before the cloud's list, which may lag, is believed that it
// lacks it.
const settledAge = time.Minute

func (t *tool) reconcile(args []string) error {
	flags := flag.NewFlagSet("reconcile", flag.ContinueOnError)
	dry := flags.Bool("dry-run", false, "only say what would be done")
	watch := flags.Duration("watch", 0, "repeat it after so long, until a signal comes")
	if _, err := t.parse(flags, args, 0, 0); err != nil {
		return err
	}
	net, err := findNetwork(t.where)
	if err != nil {
		return err
	}
	if *watch <= 0 {
		return t.reconcileOnce(net, *dry)
	}
	tick := time.NewTicker(*watch)
	defer tick.Stop()
	for {
		if err := t.reconcileOnce(net, *dry); err != nil && !errors.Is(err, errFindings) && t.ctx.Err() == nil {
			t.say("%s: %v", time.Now().Format(time.RFC3339), err)
		}
		select {
		case <-tick.C:
		case <-t.ctx.Done():
			return nil
		}
	}
}

// reconcileOnce brings store, cloud and kernel together. The kernel is put right also where the cloud does not answer.
func (t *tool) reconcileOnce(net *network, dry bool) error {
	ctx, cancel := t.timeout(net)
	defer cancel()
	ok, cloudErr := t.reconcileCloud(ctx, net, dry)
	host, err := netstate.Here()
	if err != nil {
		return errors.Join(cloudErr, err)
	}
	defer host.Close()
	t.doing("compare the store with the kernel")
	k := &healer{net: net, host: host, say: t.say, dry: dry, broken: !ok}
	read := func() (*snapshot, error) { return look(ctx, store.At(net.ipam.DataDir)) }
	if !dry {
		err = upgrade(ctx, net)
	}
	err = errors.Join(err, k.removeLeftovers(read), k.removeElements(ctx)) // an element that an ADD counted on comes back by heal
	s, lookErr := read()                                                   // anew: what was removed may have got an owner meanwhile
	if err = errors.Join(err, lookErr); lookErr == nil {
		err = errors.Join(err, k.heal(ctx, s))
	}
	if err := errors.Join(cloudErr, err); err != nil {
		return err
	}
	return t.sum(k)
}

// reconcileCloud has the store learn what the cloud says, or a copy of the store where nothing may change, and prints what
// it learnt; ok says that there is nothing that only a person can put right.
func (t *tool) reconcileCloud(ctx context.Context, net *network, dry bool) (ok bool, err error) {
	if net.ipam.Mode == netconf.Offline {
		return true, t.printf("the cloud is not asked: \"mode\" is \"offline\"\n")
	}
	conf := *net.ipam
	if dry {
		if conf.DataDir, err = copyOf(ctx, net.ipam.DataDir); err != nil {
			return false, err
		}
		defer func() { _ = os.RemoveAll(conf.DataDir) }()
	}
	w := &witness{dry: dry}
	pool := supply.New(&conf, t.through(w, net), slog.New(slog.DiscardHandler))
	before, err := look(ctx, store.At(net.ipam.DataDir))
	if err != nil {
		return false, err
	}
	if err := pool.Learn(ctx); err != nil && !w.refused {
		return false, fmt.Errorf("ask the cloud: %w", err)
	}
	after, err := look(ctx, pool.Store())
	if err != nil {
		return false, err
	}
	would := ""
	if dry {
		would = "would have "
	}
	for _, line := range learnt(before, after) {
		t.say("the store %s%s", would, line)
	}
	for _, i := range before.intents {
		if dry {
			t.say("would settle: %s, begun by process %d", describeIntent(i), i.PID)
		}
	}
	if w.listErr != nil {
		t.say("the cloud's API did not answer, so that nothing is taken out of the store: %v", w.listErr)
		return false, nil
	}
	lost := lostAddresses(before, after, w.listed)
	for _, line := range lost {
		t.say("%s", line)
	}
	return len(lost) == 0, nil
}

// copyOf copies a store into a folder of its own, which it returns. Where there is none, neither is one in the copy.
func copyOf(ctx context.Context, dataDir string) (string, error) {
	dir, err := os.MkdirTemp("", "enictl-")
	if err != nil {
		return "", fmt.Errorf("make a folder for a copy of the store: %w", err)
	}
	if err := store.At(dataDir).Copy(ctx, dir); err != nil && !errors.Is(err, store.ErrNoStore) {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

// learnt says how the store has changed.
func learnt(before, after *snapshot) []string {
	var lines []string
	for _, e := range after.enis {
		if _, known := before.eni(e.ID); !known {
			lines = append(lines, fmt.Sprintf("got %s (%s)", e.ID, e.PrimaryIP))
		}
	}
	settled := settledIntents(before, after)
	lines = append(lines, learntAddresses(before, after, settled)...)
	for _, e := range before.enis {
		_, known := after.eni(e.ID)
		switch {
		case !known && isDeleted(settled, e.ID):
			lines = append(lines, fmt.Sprintf("gave back %s: it is deleted", e.ID))
		case !known:
			lines = append(lines, fmt.Sprintf("lost %s: the cloud does not have it here", e.ID))
		}
	}
	for _, i := range settled {
		lines = append(lines, fmt.Sprintf("settled what process %d began: %s", i.PID, describeIntent(i)))
	}
	return lines
}

// What becomes of an address, or of a prefix, of an ENI.
const (
	gotIt    = "got %s of %s"
	gaveBack = "gave back %s of %s"
	lostIt   = "lost %s of %s: the cloud does not have it there"
	putBack  = "put %s of %s back to use: it was to be given back, and was not"
)

// learntAddresses says how the store's addresses have changed. A prefix that did as a whole is one line.
func learntAddresses(before, after *snapshot, settled []store.Intent) []string {
	var lines []change
	for _, a := range after.addresses {
		if _, known := before.address(a.IP); !known && !a.Ranged() {
			lines = append(lines, change{gotIt, a})
		}
	}
	for _, a := range before.addresses {
		now, known := after.address(a.IP)
		switch {
		case a.Ranged():
		case !known && isGivenBack(settled, a):
			lines = append(lines, change{gaveBack, a})
		case !known:
			lines = append(lines, change{lostIt, a})
		case a.State == store.Releasing && now.State == store.Free:
			lines = append(lines, change{putBack, a})
		}
	}
	return append(inWords(lines), learntRanges(before, after, settled)...)
}

// learntRanges says how the store's ranges have changed, which have no list of addresses.
func learntRanges(before, after *snapshot, settled []store.Intent) []string {
	var lines []string
	for _, r := range after.ranges {
		if _, known := before.rangeOf(r.Prefix); !known {
			lines = append(lines, fmt.Sprintf(gotIt, r.Prefix, r.ENI))
		}
	}
	for _, r := range before.ranges {
		now, known := after.rangeOf(r.Prefix)
		switch {
		case !known && isGivenBack(settled, store.Address{ENI: r.ENI, Prefix: r.Prefix}):
			lines = append(lines, fmt.Sprintf(gaveBack, r.Prefix, r.ENI))
		case !known, r.Releasing == 0 && now.Releasing > 0:
			lines = append(lines, fmt.Sprintf(lostIt, r.Prefix, r.ENI))
		case r.Releasing > 0 && now.Releasing == 0:
			lines = append(lines, fmt.Sprintf(putBack, r.Prefix, r.ENI))
		}
	}
	return lines
}

// change is what happened to an address: words that want it and its ENI.
type change struct {
	words string
	store.Address
}

// inWords says what happened, of prefixes in the place of all their addresses.
func inWords(changes []change) []string {
	same := map[string][]store.Address{}
	for _, c := range changes {
		same[c.words] = append(same[c.words], c.Address)
	}
	whole := map[change]bool{}
	for words, addresses := range same {
		for _, p := range prefixesOf(addresses) {
			whole[change{words, store.Address{ENI: p.ENI, Prefix: p.Prefix}}] = p.total() == p.size()
		}
	}
	var lines []string
	for _, c := range changes {
		switch {
		case !whole[change{c.words, store.Address{ENI: c.ENI, Prefix: c.Prefix}}]:
			lines = append(lines, fmt.Sprintf(c.words, c.IP, c.ENI))
		case c.IP == c.Prefix.Addr():
			lines = append(lines, fmt.Sprintf(c.words, c.Prefix, c.ENI))
		}
	}
	return lines
}

// settledIntents returns the intents that were open before and are not any more.
func settledIntents(before, after *snapshot) []store.Intent {
	return slices.DeleteFunc(slices.Clone(before.intents), func(i store.Intent) bool {
		return slices.ContainsFunc(after.intents, func(open store.Intent) bool { return open.Number == i.Number })
	})
}

// isGivenBack says whether an address went because one of the intents was about giving it back, alone or with its ENI.
func isGivenBack(settled []store.Intent, a store.Address) bool {
	return isDeleted(settled, a.ENI) || slices.ContainsFunc(settled, func(i store.Intent) bool {
		return i.Op == store.OpUnassign && i.ENI == a.ENI && (slices.Contains(i.Addresses, a.IP) || slices.Contains(i.Prefixes, a.Prefix))
	})
}

// isDeleted says whether an ENI went because one of the intents was about deleting it.
func isDeleted(settled []store.Intent, eni string) bool {
	return slices.ContainsFunc(settled, func(i store.Intent) bool { return i.Op == store.OpDeleteENI && i.ENI == eni })
}

// lostAddresses names the containers whose address the cloud does not have on its ENI. Nothing can be done for them but
// to make them anew.
func lostAddresses(before, after *snapshot, listed []cloud.ENI) []string {
	on := supply.Places(listed)
	var lines []string
	for _, a := range before.assigned() {
		now, known := after.address(a.IP)
		place, _ := on.Of(a.IP)
		if !known || now.State != store.Assigned || time.Duration(before.now)-a.Since < settledAge || place.ENI == now.ENI {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s of %s is not on %s in the cloud any more: make the container anew", a.IP, ownerOf(a), now.ENI))
	}
	return lines
}
