package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/enichain/enichain/core/about"
	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/store"
)

func (t *tool) metrics(args []string) error {
	flags := flag.NewFlagSet("metrics", flag.ContinueOnError)
	file := flags.String("o", "", "a file to be replaced as a whole, for node_exporter's textfile collector; standard output where empty")
	r, done, err := t.begin(flags, args, 0, 0)
	if err != nil {
		return err
	}
	defer done()
	s, err := look(r.ctx, store.At(r.net.ipam.DataDir))
	if err != nil {
		return err
	}
	text := exposition(s)
	if *file == "" {
		return t.printf("%s", text)
	}
	return replace(*file, text)
}

// replace writes a file beside the one that is named and renames it, so that nobody reads half of one.
func replace(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.new")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(f.Name()))
	}
	return nil
}

// exposition is the store in Prometheus' text format (prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4).
func exposition(s *snapshot) []byte {
	var b bytes.Buffer
	metric := func(name, help string) {
		fmt.Fprintf(&b, "# HELP enichain_%s %s\n# TYPE enichain_%s gauge\n", name, help, name)
	}
	sample := func(name string, value any, labels ...string) {
		fmt.Fprintf(&b, "enichain_%s%s %v\n", name, labelled(labels), value)
	}
	metric("info", "The build of enictl.")
	sample("info", 1, "version", about.Version)
	metric("addresses", "Secondary addresses of an ENI, by what they are used for.")
	s.eachPool(func(eni string, f family.Family, n store.Counts) {
		of := []string{"eni", eni, "family", string(f), "state"}
		sample("addresses", n.Free, append(of, string(store.Free))...)
		sample("addresses", n.Assigned, append(of, string(store.Assigned))...)
		sample("addresses", n.Cooling, append(of, string(store.Cooling))...)
		sample("addresses", n.Releasing, append(of, string(store.Releasing))...)
	})
	metric("prefixes", "Prefixes of an ENI: free as a whole, or used.")
	s.eachPool(func(eni string, f family.Family, n store.Counts) {
		of := []string{"eni", eni, "family", string(f), "state"}
		sample("prefixes", n.FreePrefixes, append(of, "free")...)
		sample("prefixes", n.Prefixes-n.FreePrefixes, append(of, "used")...)
	})
	metric("enis", "ENIs in the store, and those of the instance that are not managed.")
	sample("enis", len(s.enis), "managed", "true")
	sample("enis", s.node.ForeignENIs, "managed", "false")
	metric("eni_limit", "ENIs that the instance type takes; 0 is unknown.")
	sample("eni_limit", s.node.MaxENIs)
	metric("eni_address_limit", "Addresses that an ENI takes, its own counted; 0 is unknown.")
	sample("eni_address_limit", s.node.AddressesPerENI, "family", string(family.IPv4))
	sample("eni_address_limit", s.node.IPv6PerENI, "family", string(family.IPv6))
	draining, lost := 0, 0
	for _, e := range s.enis {
		if e.Draining {
			draining++
		}
		if e.Lost {
			lost++
		}
	}
	metric("draining_enis", "ENIs that are being drained.")
	sample("draining_enis", draining)
	metric("lost_enis", "ENIs that the cloud does not list any more, kept for their containers.")
	sample("lost_enis", lost)
	metric("open_intents", "Changes of the cloud that were begun and whose outcome is not in the store.")
	sample("open_intents", len(s.intents))
	metric("resting_seconds", "For how long something is not asked of the cloud.")
	for _, what := range slices.Sorted(maps.Keys(s.rests)) {
		r := s.rests[what]
		sample("resting_seconds", (r.Until - time.Duration(s.now)).Seconds(), "what", what, "class", r.Class)
	}
	if s.failed {
		metric("last_failure_age_seconds", "How long ago the pool could last not grow.")
		sample("last_failure_age_seconds", (time.Duration(s.now) - s.failure.At).Seconds(), "class", s.failure.Class)
	}
	return b.Bytes()
}

// eachPool calls fn with the counts of each ENI's addresses of a family: of IPv6 only where it has some.
func (s *snapshot) eachPool(fn func(eni string, f family.Family, n store.Counts)) {
	for _, e := range s.enis {
		for _, f := range family.All() {
			if n := s.counts[f][e.ID]; f == family.IPv4 || n.Total() > 0 {
				fn(e.ID, f, n)
			}
		}
	}
}

// labelled writes names and values in turn.
func labelled(labels []string) string {
	if len(labels) == 0 {
		return ""
	}
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	var pairs []string
	for i := 0; i < len(labels); i += 2 {
		pairs = append(pairs, labels[i]+`="`+escape.Replace(labels[i+1])+`"`)
	}
	return "{" + strings.Join(pairs, ",") + "}"
}
