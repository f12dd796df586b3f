package snat

import (
	"fmt"
	"slices"
	"strings"
)

// Link is what is known of an interface of the host.
type Link struct {
	Kind   string // "veth", "bridge", ...; empty where the host has no such interface
	Bridge string // the bridge that it is a port of, if any
}

// Patterns returns the interfaces by which packets of containers enter the host, given the host's interfaces in a
// prevResult, what they are, and the primary interface, which is never one. A name that is made for one container alone
// becomes a pattern for all of its kind, because nothing may be written per container; an error says that this was not
// possible.
func Patterns(hosts []string, link func(name string) (Link, error), primary string) ([]string, error) {
	var out []string
	for _, name := range hosts {
		l, err := link(name)
		if err != nil {
			return nil, err
		}
		pattern, err := patternOf(name, l)
		if err != nil {
			return nil, err
		}
		if pattern != "" && pattern != primary && !slices.Contains(out, pattern) {
			out = append(out, pattern)
		}
	}
	return out, nil
}

// patternOf returns the pattern for one interface; "" where no container's packet enters by it.
func patternOf(name string, l Link) (string, error) {
	switch {
	case l.Bridge != "":
		return l.Bridge, nil // the host sees a port's packets as the bridge's
	case l.Kind == "ifb":
		return "", nil // bandwidth's, by which packets only pass
	}
	// The names that main plugins make for containers' host interfaces, one a container.
	if s := stem(name, 12); s != "" && len(s) <= 3 { // eni-ptp: prefix and hash
		return s + "*", nil
	}
	if s := stem(name, 8); s == "veth" { // containernetworking/plugins, pkg/ip.RandomVethName
		return s + "*", nil
	}
	if l.Kind == "veth" {
		return "", fmt.Errorf("the name of %s does not tell how the others of its network begin", name)
	}
	return name, nil
}

// stem returns what a name begins with where the rest is so many hexadecimal digits; "" where it is not.
func stem(name string, digits int) string {
	begin := len(name) - digits
	if begin < 1 || strings.Trim(name[begin:], "0123456789abcdef") != "" {
		return ""
	}
	return name[:begin]
}
