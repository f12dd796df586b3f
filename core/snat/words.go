package snat

import (
	"fmt"
	"strings"

	"github.com/google/nftables"
)

// String returns the ruleset as `nft list table ip enichain` prints it, but with the elements of a set on one line.
func (r Ruleset) String() string {
	parts := make([]string, 0, len(r.Sets)+len(r.Chains))
	for _, s := range r.Sets {
		parts = append(parts, s.String())
	}
	for _, c := range r.Chains {
		parts = append(parts, c.String())
	}
	return fmt.Sprintf("%s {\n%s}\n", r.names.table(), strings.Join(parts, "\n"))
}

func (s Set) String() string {
	all := make([]string, 0, len(s.spans))
	for _, span := range s.spans {
		all = append(all, span.words(s.kind))
	}
	return fmt.Sprintf("\tset %s {\n\t\ttype %s\n\t\tflags interval\n\t\telements = { %s }\n\t}\n",
		s.Name, s.kind.datatype().Name, strings.Join(all, ", "))
}

func (c Chain) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\tchain %s {\n\t\ttype %s hook %s priority %s; policy accept;\n",
		c.Name, c.Type, hookName(c.Hook), priorityName(c.Priority))
	for _, r := range c.Rules {
		fmt.Fprintf(&b, "\t\t%s\n", r)
	}
	b.WriteString("\t}\n")
	return b.String()
}

func (r Rule) String() string { return fmt.Sprintf("%s comment %q", r.words(), r.Comment) }

func hookName(h nftables.ChainHook) string {
	switch h {
	case *nftables.ChainHookPrerouting:
		return "prerouting"
	case *nftables.ChainHookPostrouting:
		return "postrouting"
	}
	return fmt.Sprintf("%d", h)
}

// priorityName returns the priority in relation to the one that nft has a name for.
func priorityName(p nftables.ChainPriority) string {
	switch p {
	case priorityMark:
		return "dstnat + 10"
	case prioritySNAT:
		return "srcnat + 10"
	case priorityKeep:
		return "srcnat - 10"
	}
	return fmt.Sprintf("%d", p)
}
