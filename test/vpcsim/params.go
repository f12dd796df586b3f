package vpcsim

import (
	"maps"
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

func (p *params) prefixes(name string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, s := range p.list(name) {
		cidr, err := netip.ParsePrefix(s)
		if err != nil || !cidr.Addr().Is4() || cidr.Bits() != prefixBits || cidr != cidr.Masked() || slices.Contains(prefixes, cidr) {
			p.fail(errorf("InvalidParameterValue", "Value ( %s ) for parameter ipv4Prefix is invalid.", s))
			continue
		}
		prefixes = append(prefixes, cidr)
	}
	return prefixes
}

// request returns what addresses are asked for: by a number or by name, and of one kind only.
func (p *params) request(listed []netip.Addr, listedPrefixes []netip.Prefix) request {
	r := request{
		count: p.number("SecondaryPrivateIpAddressCount", 1, 1000, 0), prefixes: p.number("Ipv4PrefixCount", 1, 1000, 0),
		listed: listed, listedPrefixes: listedPrefixes,
	}
	kinds := 0
	for _, n := range []int{r.count, r.prefixes, len(r.listed), len(r.listedPrefixes)} {
		kinds += min(n, 1)
	}
	if kinds > 1 {
		p.fail(errorf("InvalidParameterCombination", "Numbers and lists of addresses and prefixes cannot be used together."))
	}
	return r
}

// tags returns the tags of TagSpecification.N, which are those of the resource type.
func (p *params) tags(resourceType string) map[string]string {
	tags := map[string]string{}
	for key := range p.form {
		n, ok := strings.CutSuffix(key, ".Key")
		if !ok || !strings.HasPrefix(n, "TagSpecification.") {
			continue
		}
		spec, _, _ := strings.Cut(n, ".Tag.")
		if t := p.text(spec + ".ResourceType"); t != resourceType {
			p.fail(errorf("InvalidParameterValue", "'%s' is not a valid taggable resource type for this operation.", t))
		}
		tags[p.text(key)] = p.text(n + ".Value")
	}
	return tags
}

// asked is all parameters in one text, but for the client token.
func (p *params) asked() string {
	form := maps.Clone(p.form)
	form.Del("ClientToken")
	return form.Encode()
}

// truth returns a boolean, or nil where it is not given.
func (p *params) truth(name string) *bool {
	s := p.text(name)
	if s == "" {
		return nil
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		p.fail(errorf("InvalidParameterValue", "Value ( %s ) for parameter %s is invalid.", s, name))
	}
	return &b
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
