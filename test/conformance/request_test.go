package conformance

import (
	"net/netip"
	"testing"

	"github.com/enichain/enichain/test/lab"
)

// The ways to ask for something, strongest first (CONVENTIONS.md): what a weaker one says does not matter.
type request struct {
	runtimeConfig, args any
	cniArgs             string
}

// over returns the request's call of eni-ptp's ADD. runtimeConfig and args are under the keys that the convention gives.
func (r request) over(m *machine, id, runtimeKey, argsKey string) (add, del func(t *testing.T) []byte, fail func(t *testing.T, code uint, words ...string)) {
	network := static()
	if r.runtimeConfig != nil {
		network = network.with(r.runtimeConfig, "runtimeConfig", runtimeKey)
	}
	if r.args != nil {
		network = network.with(r.args, "args", "cni", argsKey)
	}
	c, d := m.call(ptpPlugin, "ADD", id, network), m.call(ptpPlugin, "DEL", id, network)
	c.Env["CNI_ARGS"], d.Env["CNI_ARGS"] = r.cniArgs, r.cniArgs
	add = func(t *testing.T) []byte { t.Helper(); return m.succeed(t, c) }
	del = func(t *testing.T) []byte { t.Helper(); return m.succeed(t, d) }
	fail = func(t *testing.T, code uint, words ...string) { t.Helper(); m.fail(t, c, code, words...) }
	return add, del, fail
}

func TestRequestedAddress(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	const k8s = "IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b=c;"
	for name, tt := range map[string]struct {
		request
		want string
	}{
		"runtimeConfig":           {request{runtimeConfig: []string{"10.19.16.101"}}, "10.19.16.101"},
		"runtimeConfig, prefix":   {request{runtimeConfig: []string{"10.19.16.101/20"}}, "10.19.16.101"},
		"args":                    {request{args: []string{"10.19.16.102"}}, "10.19.16.102"},
		"args, prefix":            {request{args: []string{"10.19.16.102/32"}}, "10.19.16.102"},
		"CNI_ARGS":                {request{cniArgs: k8s + "IP=10.19.16.103"}, "10.19.16.103"},
		"CNI_ARGS, prefix":        {request{cniArgs: "IP=10.19.16.103/24;" + k8s}, "10.19.16.103"},
		"CNI_ARGS, unknown key":   {request{cniArgs: "FOO=bar;IP=10.19.16.103"}, "10.19.16.103"},
		"runtimeConfig over args": {request{[]string{"10.19.16.104"}, []string{"10.19.16.105"}, "IP=10.19.16.106"}, "10.19.16.104"},
		"args over CNI_ARGS":      {request{args: []string{"10.19.16.105"}, cniArgs: "IP=10.19.16.106"}, "10.19.16.105"},
		"empty lists, CNI_ARGS":   {request{[]string{}, []string{}, "IP=10.19.16.106"}, "10.19.16.106"},
	} {
		t.Run(name, func(t *testing.T) {
			m.netns(t, "c")
			add, del, _ := tt.over(m, "c", "ips", "ips")
			if got := address(t, add(t)); got != netip.MustParseAddr(tt.want) {
				t.Errorf("the container has %s, want %s", got, tt.want)
			}
			del(t)
			if err := m.DelNetns("c"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// What cannot be given is refused, and nothing else given in its place.
func TestRequestedAddressThatCannotBe(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.warm(t, static())
	m.netns(t, "other")
	m.add(t, "other", static().with([]string{"10.19.16.100"}, "runtimeConfig", "ips"))
	m.netns(t, "c")
	before := m.state(t)
	for name, tt := range map[string]struct {
		request
		word string
	}{
		"another's":       {request{runtimeConfig: []string{"10.19.16.100"}}, "eth0 of other in enichain"},
		"not ours":        {request{runtimeConfig: []string{"10.19.16.200"}}, "no ENI of this node has it"},
		"of no subnet":    {request{cniArgs: "IP=192.0.2.1"}, "no ENI of this node has it"},
		"the ENI's own":   {request{args: []string{"10.19.16.17"}}, "no ENI of this node has it"},
		"the node's own":  {request{args: []string{"10.19.0.22"}}, "no ENI of this node has it"},
		"IPv6":            {request{runtimeConfig: []string{"fd00::1"}}, `no addresses of IPv6: "families" is ["ipv4"]`},
		"no address":      {request{cniArgs: "IP=anything"}, "anything"},
		"a bad prefix":    {request{runtimeConfig: []string{"10.19.16.101/99"}}, "10.19.16.101/99"},
		"more than one":   {request{runtimeConfig: []string{"10.19.16.101", "10.19.16.102"}}, "10.19.16.102"},
		"an empty string": {request{runtimeConfig: []string{""}}, "requested address"},
	} {
		t.Run(name, func(t *testing.T) {
			_, del, fail := tt.over(m, "c", "ips", "ips")
			fail(t, 100, tt.word)
			m.unchanged(t, before)
			del(t)
		})
	}
	// One that holds an address already is not given another.
	c := m.call(ptpPlugin, "ADD", "other", static().with([]string{"10.19.16.101"}, "runtimeConfig", "ips"))
	m.fail(t, c, 100, "10.19.16.100 already")
	m.unchanged(t, before)
}

func TestRequestedMAC(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.warm(t, static())
	const mac1, mac2, mac3 = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
	for name, tt := range map[string]struct {
		request
		want string
	}{
		"runtimeConfig":           {request{runtimeConfig: mac1}, mac1},
		"args":                    {request{args: mac2}, mac2},
		"CNI_ARGS":                {request{cniArgs: "IgnoreUnknown=1;MAC=" + mac3}, mac3},
		"runtimeConfig over args": {request{mac1, mac2, "MAC=" + mac3}, mac1},
		"args over CNI_ARGS":      {request{args: mac2, cniArgs: "MAC=" + mac3}, mac2},
	} {
		t.Run(name, func(t *testing.T) {
			m.netns(t, "c")
			add, del, _ := tt.over(m, "c", "mac", "mac")
			if got := result(t, add(t)).Interfaces[1].Mac; got != tt.want || linkOf(t, m.Container("c"), "eth0").Address != tt.want {
				t.Errorf("the container has %s, want %s", got, tt.want)
			}
			del(t)
			if err := m.DelNetns("c"); err != nil {
				t.Fatal(err)
			}
		})
	}
	m.netns(t, "c")
	before := m.state(t)
	for _, bad := range []string{"x", "02:00:00:00:00", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "02:00:00:00:00:00:00:01"} {
		_, _, fail := request{runtimeConfig: bad}.over(m, "c", "mac", "mac")
		fail(t, 7, "MAC")
		m.unchanged(t, before)
	}
}
