// Package marking puts the number of an ENI on the packets that come from its containers' host veths, which the rules per ENI
// (package layout) route by: with a BPF program on each veth, or with nftables.
package marking

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
)

// ErrNoTCX says that the kernel takes no BPF program on a link by tcx: it is older than Linux 6.6, or forbids it.
var ErrNoTCX = errors.New("this kernel has no tcx")

// Outcome is what marks the packets of a veth.
type Outcome struct {
	By      netconf.Marking // TCX or NFTables; empty where the packets carry no number
	Program uint32          // the BPF program's ID
	Against error           // why auto is not TCX
}

// Set has the packets of the attachment's veth marked with the numbers of its addresses, in the way that is wanted. It may be
// repeated; another way goes once the new one works. hint is the ID of a program that may do; all, which may be nil, is asked where
// nftables has lost what it had. All of it is for the calling thread's namespace.
func Set(ctx context.Context, h *netstate.Handle, veth netstate.Link, c layout.Attachment, want netconf.Marking, hint uint32, all Numbered) (Outcome, error) {
	n := numbersOf(c)
	if n == (numbers{}) {
		return Outcome{}, Clear(h, veth)
	}
	ways := []netconf.Marking{want}
	var against error
	if want == netconf.Auto { // slow, or dear, is better than not at all
		by, why, err := Choose(veth.Index)
		ways, against = []netconf.Marking{by, otherThan(by)}, cmp.Or(why, err)
	}
	var failed []error
	for _, by := range ways {
		o := Outcome{By: by, Against: against}
		var err error
		if by == netconf.TCX {
			o.Program, err = byProgram(h, veth, n, hint)
		} else {
			err = byNFTables(ctx, h, veth, c, all)
		}
		if err == nil {
			return o, nil
		}
		failed, against = append(failed, err), cmp.Or(against, err)
	}
	return Outcome{}, fmt.Errorf("mark what comes from %s: %w", veth.Name, errors.Join(failed...))
}

func otherThan(by netconf.Marking) netconf.Marking {
	if by == netconf.TCX {
		return netconf.NFTables
	}
	return netconf.TCX
}

// byProgram has a program mark the packets, and nothing else.
func byProgram(h *netstate.Handle, veth netstate.Link, n numbers, hint uint32) (program uint32, err error) {
	if program, err = attach(veth.Index, n, hint); err != nil {
		return 0, err
	}
	return program, leaveGroup(h, veth)
}

// byNFTables has nftables mark the packets, and nothing else. The group comes first: while a veth is in it nobody removes the tables.
func byNFTables(ctx context.Context, h *netstate.Handle, veth netstate.Link, c layout.Attachment, all Numbered) error {
	again := veth.Group == layout.GroupMarked
	if !again {
		if err := h.SetGroup(veth.Device, layout.GroupMarked); err != nil {
			return err
		}
	}
	if err := setElements(ctx, c, again, all); err != nil {
		return err
	}
	return detach(veth.Index)
}

// Clear has the veth's packets not marked any more.
func Clear(h *netstate.Handle, veth netstate.Link) error {
	return errors.Join(leaveGroup(h, veth), detach(veth.Index))
}

// leaveGroup takes the veth out of the group that nftables marks.
func leaveGroup(h *netstate.Handle, veth netstate.Link) error {
	if veth.Group != layout.GroupMarked {
		return nil
	}
	return h.SetGroup(veth.Device, 0)
}

// Diff says what marks the packets of the attachment's veth, and what is wrong with it; "" is nothing. Any way will do.
func Diff(ctx context.Context, veth netstate.Link, c layout.Attachment) (by netconf.Marking, difference string, err error) {
	n := numbersOf(c)
	program, err := attached(veth.Index)
	if err != nil && !errors.Is(err, ErrNoTCX) {
		return "", "", err
	}
	switch {
	case veth.Group == layout.GroupMarked: // whatever the program says: nftables comes after it
		by = netconf.NFTables
		difference, err = diffElements(ctx, c)
		return by, difference, err
	case program.name == n.name():
		return netconf.TCX, "", nil
	case program.name != "":
		return netconf.TCX, fmt.Sprintf("the BPF program %s is on %s, not %s", program.name, veth.Name, n.name()), nil
	case n == numbers{}:
		return "", "", nil
	}
	return "", fmt.Sprintf("nothing marks the packets of %s with %s: neither the BPF program %s nor nftables, for which it is not in the group %d",
		veth.Name, n, n.name(), layout.GroupMarked), nil
}

// numbers are those that a veth's packets carry, by family; 0 is none.
type numbers struct{ ipv4, ipv6 int }

// numbersOf returns the numbers of an attachment's addresses. A family without an address has the other's, so that the
// containers of an ENI have the same whatever their families are.
func numbersOf(c layout.Attachment) numbers {
	var n numbers
	var has4, has6 bool
	for _, a := range c.Addresses {
		if a.IP.Is4() {
			n.ipv4, has4 = a.Number, true
		} else {
			n.ipv6, has6 = a.Number, true
		}
	}
	if !has4 {
		n.ipv4 = n.ipv6
	}
	if !has6 {
		n.ipv6 = n.ipv4
	}
	return n
}

func (n numbers) String() string {
	if n.ipv4 == n.ipv6 {
		return fmt.Sprintf("%#x", n.ipv4)
	}
	return fmt.Sprintf("%#x (IPv4) and %#x (IPv6)", n.ipv4, n.ipv6)
}
