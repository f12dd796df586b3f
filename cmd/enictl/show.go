package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/supply"
)

// shown is what show prints with -o json. Times since boot have become "how long ago" and "how long still".
type shown struct {
	Network   string         `json:"network"`
	Conflist  string         `json:"conflist"`
	DataDir   string         `json:"dataDir"`
	Cloud     string         `json:"cloud"`
	Mode      string         `json:"mode"`
	Node      *store.Node    `json:"node,omitempty"`
	ENIs      []shownENI     `json:"enis"`
	Prefixes  []prefixUse    `json:"prefixes"`
	Addresses []shownAddress `json:"addresses"`
	Rests     []shownRest    `json:"rests"`
	Intents   []store.Intent `json:"intents"`
	Failure   *shownFailure  `json:"lastFailure,omitempty"`
}

type shownENI struct {
	store.ENI
	Device  string       `json:"device,omitempty"` // the link that has its MAC; empty where none does
	Counts  store.Counts `json:"counts"`           // of IPv4
	Counts6 store.Counts `json:"counts6,omitzero"` // of IPv6
	Advice  string       `json:"advice,omitempty"` // what is to be done about it
}

type shownAddress struct {
	store.Address
	SinceSeconds float64 `json:"sinceSeconds"`
	UntilSeconds float64 `json:"untilSeconds,omitempty"`
}

type shownRest struct {
	What        string  `json:"what"`
	Class       string  `json:"class"`
	Reason      string  `json:"reason"`
	Attempts    int     `json:"attempts"`
	LeftSeconds float64 `json:"leftSeconds"`
}

type shownFailure struct {
	store.Failure
	SinceSeconds float64 `json:"sinceSeconds"`
}

func (t *tool) show(args []string) error {
	flags := flag.NewFlagSet("show", flag.ContinueOnError)
	format := flags.String("o", "table", "table or json")
	r, done, err := t.begin(flags, args, 0, 0)
	if err != nil {
		return err
	}
	defer done()
	if *format != "table" && *format != "json" {
		return usageError("show: -o is %q: table or json is wanted", *format)
	}
	s, err := look(r.ctx, store.At(r.net.ipam.DataDir))
	if err != nil {
		return err
	}
	v := view(r.net, s, devices(s.enis))
	if *format == "json" {
		encoder := json.NewEncoder(t.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(v)
	}
	return v.print(t.out)
}

// devices returns the names of the ENIs' links, by ENI. What cannot be found has none.
func devices(enis []store.ENI) map[string]string {
	h, err := netstate.Here()
	if err != nil {
		return nil
	}
	defer h.Close()
	names := map[string]string{}
	for _, e := range enis {
		if l, err := h.ENILink(e); err == nil {
			names[e.ID] = l.Name
		}
	}
	return names
}

// view puts a snapshot into the words of people.
func view(net *network, s *snapshot, devices map[string]string) *shown {
	v := &shown{
		Network: net.name, Conflist: net.file, DataDir: net.ipam.DataDir, Cloud: net.ipam.Cloud, Mode: net.ipam.Mode,
		ENIs: []shownENI{}, Prefixes: append(prefixesOf(s.addresses), s.ranges...), Addresses: []shownAddress{}, Rests: []shownRest{}, Intents: append([]store.Intent{}, s.intents...),
	}
	now := time.Duration(s.now)
	if s.known {
		v.Node = &s.node
	}
	for _, e := range s.enis {
		four, six := s.counts[family.IPv4][e.ID], s.counts[family.IPv6][e.ID]
		v.ENIs = append(v.ENIs, shownENI{
			ENI: e, Device: devices[e.ID], Counts: four, Counts6: six, Advice: advice(e, four.Assigned+six.Assigned),
		})
	}
	for _, a := range s.addresses {
		row := shownAddress{Address: a, SinceSeconds: (now - a.Since).Seconds()}
		if a.State == store.Cooling {
			row.UntilSeconds = max(0, (a.Until - now).Seconds())
		}
		v.Addresses = append(v.Addresses, row)
	}
	for _, what := range slices.Sorted(maps.Keys(s.rests)) {
		r := s.rests[what]
		v.Rests = append(v.Rests, shownRest{what, r.Class, r.Reason, r.Attempts, (r.Until - now).Seconds()})
	}
	if s.failed {
		v.Failure = &shownFailure{s.failure, (now - s.failure.At).Seconds()}
	}
	return v
}

// print writes the tables.
func (v *shown) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	line("network %s (%s), store %s, cloud %s, mode %s", v.Network, v.Conflist, v.DataDir, v.Cloud, v.Mode)
	if v.Node == nil {
		line("nothing is known of this node yet: no container has asked for an address since it booted")
		return w.Flush()
	}
	line("node %s in %s: up to %s ENIs with %s addresses each; %d ENIs are foreign", v.Node, orDash(v.Node.Region),
		numberOrDash(v.Node.MaxENIs), numberOrDash(v.Node.AddressesPerENI), v.Node.ForeignENIs)
	line("\nENI\tDEVICE\tINDEX\tTABLE\tSUBNET\tPRIMARY IP\tFREE\tASSIGNED\tCOOLING\tRELEASING\t")
	for _, e := range v.ENIs {
		line("%s\t%s\t%d\t%d\t%s\t%s\t%d\t%d\t%d\t%d\t%s", e.ID, orDash(e.Device), e.DeviceIndex, e.Table, e.Subnet, e.PrimaryIP,
			e.Counts.Free, e.Counts.Assigned, e.Counts.Cooling, e.Counts.Releasing, e.remark())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	v.printIPv6(line)
	if err := w.Flush(); err != nil {
		return err
	}
	for i, p := range v.Prefixes {
		if i == 0 {
			line("\nPREFIX\tENI\tFREE\tASSIGNED\tCOOLING\tRELEASING")
		}
		line("%s\t%s\t%d\t%d\t%d\t%d", p.Prefix, p.ENI, p.Free, p.Assigned, p.Cooling, p.Releasing)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	line("\nADDRESS\tENI\tSTATE\tFOR\tSTILL\tOWNER")
	for _, a := range v.Addresses {
		line("%s\t%s\t%s\t%s\t%s\t%s", a.IP, a.ENI, a.State, seconds(a.SinceSeconds), a.still(), ownerOf(a.Address))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	v.printTroubles(line)
	return w.Flush()
}

// printIPv6 writes what ENIs have of IPv6, where one has.
func (v *shown) printIPv6(line func(string, ...any)) {
	some := slices.DeleteFunc(slices.Clone(v.ENIs), func(e shownENI) bool { return e.Counts6.Total() == 0 })
	for i, e := range some {
		if i == 0 {
			line("\nENI\tIPv6 SUBNET\tOWN IPv6\tFREE\tASSIGNED\tCOOLING\tRELEASING")
		}
		own := "-"
		if e.PrimaryIP6.IsValid() {
			own = e.PrimaryIP6.String()
		}
		line("%s\t%s\t%s\t%d\t%d\t%d\t%d", e.ID, e.Subnet6, own, e.Counts6.Free, e.Counts6.Assigned, e.Counts6.Cooling, e.Counts6.Releasing)
	}
}

// advice is what is to be done about an ENI that the cloud does not list: others detached or deleted it.
func advice(e store.ENI, assigned int) string {
	switch {
	case !e.Lost:
		return ""
	case assigned == 0:
		return "nothing: it is forgotten when the cloud is next asked, as by enictl reconcile, a minute after the last use of it"
	}
	return fmt.Sprintf("make the containers with its %d assigned addresses anew, for nothing reaches them; "+
		"or attach it to this instance again, and run enictl reconcile", assigned)
}

// printTroubles writes what is lost, what rests, what is open, and what failed last.
func (v *shown) printTroubles(line func(string, ...any)) {
	lost := slices.DeleteFunc(slices.Clone(v.ENIs), func(e shownENI) bool { return !e.Lost })
	for i, e := range lost {
		if i == 0 {
			line("")
		}
		line("lost: %s; the cloud does not list it among this instance's. What to do: %s", e.ID, e.Advice)
	}
	for i, r := range v.Rests {
		if i == 0 {
			line("")
		}
		line("resting for %s: %s (%s, %d in a row): %s", seconds(r.LeftSeconds), r.What, r.Class, r.Attempts, r.Reason)
	}
	for i, in := range v.Intents {
		if i == 0 {
			line("")
		}
		line("open since %s: %s, by process %d", in.Started.Format(time.RFC3339), describeIntent(in), in.PID)
	}
	if v.Failure != nil {
		line("\nlast failure, %s ago (%s): %s", seconds(v.Failure.SinceSeconds), v.Failure.Class, v.Failure.Message)
	}
}

// describeIntent says what was begun.
func describeIntent(in store.Intent) string {
	switch in.Op {
	case store.OpAssign:
		return fmt.Sprintf("assign %s to %s", supply.AmountOf(in), in.ENI)
	case store.OpUnassign:
		return fmt.Sprintf("give back %s of %s", supply.ListOf(in), in.ENI)
	case store.OpCreateENI:
		return fmt.Sprintf("make an ENI with %s in %s", supply.AmountOf(in), in.Subnet)
	case store.OpDeleteENI:
		return "delete " + in.ENI
	}
	return in.Op
}

// remark is what else there is to say of an ENI.
func (e shownENI) remark() string {
	switch {
	case e.Lost:
		return "lost"
	case e.Draining:
		return "draining"
	case e.Primary:
		return "primary"
	case e.Device == "":
		return "no link has its MAC"
	case e.Ours:
		return "ours"
	}
	return ""
}

func (a shownAddress) still() string {
	if a.State != store.Cooling {
		return "-"
	}
	return seconds(a.UntilSeconds)
}

// ownerOf says whose an address is: the pod, where it is known.
func ownerOf(a store.Address) string {
	if a.Owner == nil {
		return "-"
	}
	owner := a.Owner.String()
	if a.Sandbox != nil && a.Sandbox.PodName != "" {
		return fmt.Sprintf("%s/%s (%s)", a.Sandbox.PodNamespace, a.Sandbox.PodName, owner)
	}
	if a.State == store.Cooling {
		return "was " + owner
	}
	return owner
}

// seconds writes a duration to the second.
func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func numberOrDash(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}
