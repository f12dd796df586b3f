package vpcsim

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// params reads the parameters of one action, and remembers which were read: EC2 refuses those that it doesn't know.
type params struct {
	form url.Values
	seen map[string]bool
	err  error
}

func newParams(form url.Values) *params {
	return &params{form: form, seen: map[string]bool{"Action": true, "Version": true}}
}

func (p *params) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// text returns a parameter, or "" where it is not given.
func (p *params) text(name string) string {
	p.seen[name] = true
	return p.form.Get(name)
}

func (p *params) required(name string) string {
	s := p.text(name)
	if s == "" {
		p.fail(errorf("MissingParameter", "The request must contain the parameter %s", name))
	}
	return s
}

// number returns a whole number between low and high, or none where it is not given.
func (p *params) number(name string, low, high, none int) int {
	s := p.text(name)
	if s == "" {
		return none
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		p.fail(errorf("InvalidParameterValue", "Value ( %s ) for parameter %s is invalid. Expecting a value between %d and %d.", s, name, low, high))
	}
	return n
}

// list returns NAME.1, NAME.2 ...; the numbers need not follow on one another.
func (p *params) list(name string) []string {
	type entry struct {
		n    int
		text string
	}
	var entries []entry
	for key := range p.form {
		rest, ok := strings.CutPrefix(key, name+".")
		if n, err := strconv.Atoi(rest); ok && err == nil && n > 0 {
			entries = append(entries, entry{n, p.text(key)})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return a.n - b.n })
	var values []string
	for _, e := range entries {
		values = append(values, e.text)
	}
	return values
}

func (p *params) addresses(name string) []netip.Addr {
	var addresses []netip.Addr
	for _, s := range p.list(name) {
		ip, err := netip.ParseAddr(s)
		if err != nil || !ip.Is4() || slices.Contains(addresses, ip) {
			p.fail(errorf("InvalidParameterValue", "Value ( %s ) for parameter privateIpAddress is invalid.", s))
			continue
		}
		addresses = append(addresses, ip)
	}
	return addresses
}

// filters returns Filter.N.Name with its Filter.N.Value.M.
func (p *params) filters() map[string][]string {
	found := map[string][]string{}
	for key := range p.form {
		n, ok := strings.CutSuffix(key, ".Name")
		if ok && strings.HasPrefix(n, "Filter.") {
			found[p.text(key)] = p.list(n + ".Value")
		}
	}
	return found
}

// done returns the first thing that was wrong, a parameter that nobody asked for included.
func (p *params) done() error {
	for name := range p.form {
		if !p.seen[name] {
			p.fail(errorf("UnknownParameter", "The parameter %s is not recognized", name))
		}
	}
	return p.err
}
