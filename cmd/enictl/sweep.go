package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/supply"
)

// sweepAge is how old an ENI must be to be taken for leaked: one that is being made is attached to nothing for seconds.
const sweepAge = 5 * time.Minute

func (t *tool) sweep(args []string) error {
	flags := flag.NewFlagSet("sweep", flag.ContinueOnError)
	yes := flags.Bool("yes", false, "delete them; they are only listed otherwise")
	age := flags.Duration("age", sweepAge, "how long ago they must have been made")
	r, done, err := t.begin(flags, args, 0, 0)
	if err != nil {
		return err
	}
	defer done()
	driver, err := t.driver(r.net)()
	if err != nil {
		return err
	}
	s, err := look(r.ctx, store.At(r.net.ipam.DataDir))
	if err != nil {
		return err
	}
	tagged, err := driver.TaggedENIs(r.ctx, map[string]string{supply.TagOwner: r.net.ipam.Owner})
	if err != nil {
		return fmt.Errorf("list the ENIs with the tag %s=%s: %w", supply.TagOwner, r.net.ipam.Owner, err)
	}
	leaked := leakedENIs(tagged, s.intents, time.Now().Add(-*age))
	if len(leaked) == 0 {
		return t.printf("no ENI is left over: %d have the tag %s=%s\n", len(tagged), supply.TagOwner, r.net.ipam.Owner)
	}
	if err := t.listLeaked(leaked); err != nil {
		return err
	}
	if !*yes {
		return t.printf("\n%d ENIs would be deleted: -yes deletes them\n", len(leaked))
	}
	var failed []error
	for _, e := range leaked {
		// Without an instance the driver refuses what has been attached meanwhile.
		if err := driver.DeleteENI(r.ctx, "", e.ID); err != nil {
			failed = append(failed, fmt.Errorf("delete %s: %w", e.ID, err))
			continue
		}
		if err := t.printf("deleted %s\n", e.ID); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

func (t *tool) listLeaked(leaked []cloud.ENI) error {
	w := tabwriter.NewWriter(t.out, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ENI\tSUBNET\tPRIMARY IP\tADDRESSES\tMADE FOR\tMADE")
	for _, e := range leaked {
		has := supply.Places([]cloud.ENI{e})
		addresses := fmt.Sprint(len(has.Listed))
		if n := len(has.Ranges); n > 0 {
			addresses += fmt.Sprintf(" and %d of IPv6's prefixes", n)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", e.ID, e.SubnetID, e.PrimaryIP, addresses,
			e.Tags[supply.TagInstance], e.Created.UTC().Format(time.RFC3339))
	}
	return w.Flush()
}

// leakedENIs returns those that enichain made for an instance, that are attached to nothing, and that are old enough for
// nobody to be about to attach them. What an open intent of this node is about is reconcile's to settle; an ENI whose age
// nobody knows is left alone.
func leakedENIs(tagged []cloud.ENI, intents []store.Intent, before time.Time) []cloud.ENI {
	var leaked []cloud.ENI
	for _, e := range tagged {
		mine := slices.ContainsFunc(intents, func(i store.Intent) bool {
			return i.ENI == e.ID || i.Token != "" && i.Token == e.Tags[cloud.TagToken]
		})
		if e.State == cloud.Available && e.InstanceID == "" && e.Tags[supply.TagInstance] != "" &&
			!e.Created.IsZero() && e.Created.Before(before) && !mine {
			leaked = append(leaked, e)
		}
	}
	return leaked
}
