package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/enichain/enichain/test/probe"
)

// patience is how long a walk may take. One that is as it should be takes milliseconds.
const patience = 3 * time.Second

// walk is a way that packets take, and how it should look.
type walk struct {
	from, to string
	// path are the interfaces that the request passes on the nodes, "veth" being a container's. The answer takes it backwards.
	path   string
	source string // that the far end sees
	silent bool   // there should be no answer
	// mine says whether a packet is of this walk.
	mine func(probe.Packet) bool
	call func(context.Context) (sight, error)
}

// sight is what the far end saw.
type sight struct {
	source string
	note   string // for people
}

// outcome is how a walk looked.
type outcome struct {
	sight
	err         error
	there, back string // the paths of the request and of the answer
	packets     []captured
}

// captured is a packet, and the node that saw it.
type captured struct {
	probe.Packet
	node *node
}

// wrong lists in which ways the walk was not as it should be.
func (w walk) wrong(o outcome) []string {
	var all []string
	expect := func(what, want, got string) {
		if want != got {
			all = append(all, fmt.Sprintf("%s: expected %s, was %s", what, orNothing(want), orNothing(got)))
		}
	}
	if o.err != nil {
		all = append(all, o.err.Error())
	}
	expect("the request's path", w.path, o.there)
	expect("the answer's path", w.pathBack(), o.back)
	expect("the source that the far end sees", w.source, o.source)
	return all
}

func (w walk) pathBack() string {
	if w.silent {
		return ""
	}
	steps := strings.Split(w.path, " > ")
	slices.Reverse(steps)
	return strings.Join(steps, " > ")
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// take makes the walk while all interfaces of all nodes are captured.
func (d *demo) take(ctx context.Context, w walk) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	captures := make([]*probe.Capture, len(d.nodes))
	err := d.onEachNode(func(n *node) error {
		return n.Do(func() (err error) {
			captures[slices.Index(d.nodes, n)], err = probe.StartCapture(w.mine, 128)
			return err
		})
	})
	var o outcome
	if err == nil {
		o.sight, o.err = w.call(ctx)
	}
	for i, c := range captures {
		if c == nil {
			continue
		}
		packets, stopped := c.Stop()
		err = errors.Join(err, stopped)
		for _, p := range packets {
			o.packets = append(o.packets, captured{p, d.nodes[i]})
		}
	}
	slices.SortStableFunc(o.packets, func(a, b captured) int { return a.Time.Compare(b.Time) })
	o.there, o.back = path(o.packets, request), path(o.packets, answer)
	return o, err
}

// request and answer are the packets that begin a conversation.
func request(p probe.Packet) bool {
	return p.Protocol == "tcp" && p.Flags == "S" || p.Protocol == "icmp" && p.ICMPType == probe.EchoRequest
}

func answer(p probe.Packet) bool {
	return p.Protocol == "tcp" && p.Flags == "S." || p.Protocol == "icmp" && p.ICMPType == probe.EchoReply
}

// path names the interfaces that packets of one kind passed, in their order; a repeated packet adds nothing. The order is
// told by the TTL, of which a node takes one and the VPC none, and not by the time: the kernel begins to stamp packets
// only some time after the first socket asked for it, and one that has no stamp gets the time at which it is read.
func path(packets []captured, kind func(probe.Packet) bool) string {
	packets = slices.DeleteFunc(slices.Clone(packets), func(p captured) bool { return !kind(p.Packet) })
	slices.SortStableFunc(packets, func(a, b captured) int {
		if a.TTL != b.TTL || a.Outgoing == b.Outgoing {
			return cmp.Compare(b.TTL, a.TTL)
		}
		if a.Outgoing { // it left one node before it came to the next
			return -1
		}
		return 1
	})
	type place struct {
		node     *node
		link     string
		outgoing bool
	}
	var passed []place
	var words []string
	for _, p := range packets {
		at := place{p.node, p.Interface, p.Outgoing}
		if slices.Contains(passed, at) {
			continue
		}
		passed = append(passed, at)
		if slices.ContainsFunc(p.node.containers, func(c *container) bool { return c.veth == p.Interface }) {
			words = append(words, "veth")
		} else {
			words = append(words, p.Interface)
		}
	}
	return strings.Join(words, " > ")
}

// Widths of the columns; the last one's is that of what it holds.
const (
	lineFormat  = "  %-17s %-33s %-28s %-*s "
	sourceWidth = 14
)

// show prints a walk's line, with its last column so wide, and counts it.
func (d *demo) show(w walk, o outcome, width int) {
	d.tally.walks++
	wrong := w.wrong(o)
	there := orNothing(o.there)
	if len(wrong) > 0 && o.back != w.pathBack() {
		there += " / " + orNothing(o.back)
	}
	d.printf(lineFormat, w.from, w.to, there, width, orNothing(o.source))
	if len(wrong) == 0 {
		d.tally.good++
		d.printf("%s", d.good("ok"))
	} else {
		d.printf("%s", d.bad("FAILED"))
	}
	if o.note != "" {
		d.printf("  (%s)", o.note)
	}
	d.printf("\n")
	for _, reason := range wrong {
		d.printf("      %s\n", d.bad(reason))
	}
	if d.Verbose {
		for _, p := range o.packets {
			d.printf("      %s %s\n", p.node.Name, p.Packet)
		}
	}
}

// takeAll takes walks and shows them.
func (d *demo) takeAll(ctx context.Context, walks ...walk) error {
	d.printf("%s\n", strings.TrimRight(fmt.Sprintf(lineFormat, "FROM", "TO", "CARRIED BY", sourceWidth, "SOURCE SEEN"), " "))
	width := sourceWidth
	for _, w := range walks {
		width = max(width, len(w.source)+1)
	}
	for _, w := range walks {
		o, err := d.take(ctx, w)
		if err := errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("walk from %s to %s: %w", w.from, w.to, err)
		}
		d.show(w, o, width)
	}
	return nil
}
