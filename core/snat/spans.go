package snat

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// setKind is what the keys of a set are.
type setKind int

const (
	addressSet   setKind = iota // ipv4_addr
	interfaceSet                // ifname
)

func (k setKind) datatype() nftables.SetDatatype {
	if k == interfaceSet {
		return nftables.TypeIFName
	}
	return nftables.TypeIPAddr
}

// span is an interval of keys, as the kernel keeps it: from the first key to before the second; without an end where
// that is empty. Two spans of prefixes, or of patterns, are never in part the same: one holds the other, or none does.
type span struct{ from, to string }

// holds says whether all of other is within s.
func (s span) holds(other span) bool {
	return s.from <= other.from && (s.to == "" || other.to != "" && other.to <= s.to)
}

// prefixSpans returns the spans of the prefixes, sorted, without those that another holds.
func prefixSpans(prefixes []netip.Prefix) []span {
	var all []span
	for _, p := range prefixes {
		from := p.Masked().Addr().AsSlice()
		all = append(all, span{string(from), after(from, p.Bits())})
	}
	return outermost(all)
}

// patternSpans returns the spans of interface names; a '*' at the end stands for any rest.
func patternSpans(patterns []string) []span {
	var all []span
	for _, p := range patterns {
		fixed, wild := strings.CutSuffix(p, "*")
		from, bits := nameKey(fixed), 8*unix.IFNAMSIZ
		if wild {
			bits = 8 * len(fixed)
		}
		all = append(all, span{string(from), after(from, bits)})
	}
	return outermost(all)
}

// nameKey is an interface's name as the kernel compares it: filled up with zeros.
func nameKey(name string) []byte {
	key := make([]byte, unix.IFNAMSIZ)
	copy(key, name)
	return key
}

// after returns the key that follows the last one with the same first bits as key; "" where none does.
func after(key []byte, bits int) string {
	next := slices.Clone(key)
	for i := bits - 1; i >= 0; i-- {
		bit := byte(0x80) >> (i % 8)
		next[i/8] ^= bit
		if next[i/8]&bit != 0 {
			return string(next)
		}
	}
	return ""
}

// outermost sorts the spans and drops those that another holds.
func outermost(all []span) []span {
	slices.SortFunc(all, func(a, b span) int {
		if c := cmp.Compare(a.from, b.from); c != 0 {
			return c
		}
		switch {
		case a == b:
			return 0
		case a.holds(b):
			return -1
		}
		return 1
	})
	var out []span
	for _, s := range all {
		if len(out) == 0 || !out[len(out)-1].holds(s) {
			out = append(out, s)
		}
	}
	return out
}

// missing returns the spans of want that none of have holds.
func missing(want, have []span) []span {
	var out []span
	for _, w := range want {
		if !slices.ContainsFunc(have, func(h span) bool { return h.holds(w) }) {
			out = append(out, w)
		}
	}
	return out
}

// words returns the span as nft does: "10.0.0.0/16" or "10.0.0.1-10.0.0.9", "eth0" or "pod*", with quotes.
func (s span) words(kind setKind) string {
	if kind == interfaceSet {
		return `"` + s.pattern() + `"`
	}
	first, _ := netip.AddrFromSlice([]byte(s.from))
	last := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if end, ok := netip.AddrFromSlice([]byte(s.to)); ok {
		last = end.Prev()
	}
	for bits := 0; bits <= first.BitLen(); bits++ {
		if p := netip.PrefixFrom(first, bits); p == p.Masked() && after(first.AsSlice(), bits) == s.to {
			return strings.TrimSuffix(p.String(), "/32")
		}
	}
	return first.String() + "-" + last.String()
}

// pattern returns the span as patternSpans reads it.
func (s span) pattern() string {
	name := strings.TrimRight(s.from, "\x00")
	if after([]byte(s.from), 8*unix.IFNAMSIZ) == s.to {
		return name
	}
	return name + "*"
}

// elements returns the spans as the kernel takes them: a start, and an end where there is one.
func elements(spans []span) []nftables.SetElement {
	var out []nftables.SetElement
	for _, s := range spans {
		out = append(out, nftables.SetElement{Key: []byte(s.from)})
		if s.to != "" {
			out = append(out, nftables.SetElement{Key: []byte(s.to), IntervalEnd: true})
		}
	}
	return out
}

// spansOf returns the spans in a set's elements, which the kernel gives in any order.
func spansOf(elements []nftables.SetElement) []span {
	slices.SortFunc(elements, func(a, b nftables.SetElement) int {
		if c := bytes.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		// Where one span ends and the next begins at the same key, the end comes first.
		if a.IntervalEnd == b.IntervalEnd {
			return 0
		}
		if a.IntervalEnd {
			return -1
		}
		return 1
	})
	var out []span
	for _, e := range elements {
		switch {
		case !e.IntervalEnd:
			out = append(out, span{from: string(e.Key)})
		case len(out) > 0: // nft begins a set with an end at zero, of nothing
			out[len(out)-1].to = string(e.Key)
		}
	}
	return out
}
