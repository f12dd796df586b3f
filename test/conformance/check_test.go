package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/lab"
)

// attached is a container on a machine, with the result that its chain's ADD had in the end.
type attached struct {
	*machine
	network conf
	result  json.RawMessage
	veth    string
}

const checkedIP = "10.19.16.101"

// attach runs the chain's ADD, first or again.
func (a *attached) attach(t *testing.T) {
	t.Helper()
	a.result = a.add(t, "c", a.network)
	a.succeed(t, a.call(snatPlugin, "ADD", "c", a.network.snat().with(a.result, "prevResult")))
}

// check runs the chain's CHECK as libcni does, until one fails. It returns that one's message.
func (a *attached) check(t *testing.T) string {
	t.Helper()
	for plugin, c := range map[string]conf{ptpPlugin: a.network, snatPlugin: a.network.snat()} {
		o := a.run(t, a.call(plugin, "CHECK", "c", c.with(a.result, "prevResult")))
		if o.Error == nil {
			continue
		}
		if o.Error.Code != 103 {
			t.Errorf("%s CHECK: code %d, want 103", plugin, o.Error.Code)
		}
		return o.Error.Msg
	}
	return ""
}

// damage is one piece that is taken away by hand.
type damage struct {
	name string
	on   *lab.Host
	line string // of a shell
	want string // in CHECK's message
	// mend puts it back where another ADD of the container does not look.
	mend string
}

// CHECK passes right after ADD. After any single piece was removed it fails, and its message names the piece; put back, by
// ADD or by hand, it passes again.
func TestCheckNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	perENI := static().with("per-eni", "routing")
	for name, network := range map[string]conf{
		"per-pod": static().with("per-pod", "routing"), "tcx": perENI.with("tcx", "marking"), "nftables": perENI.with("nftables", "marking"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkNamesWhatIsMissing(t, network)
		})
	}
}

func checkNamesWhatIsMissing(t *testing.T, network conf) {
	t.Helper()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.netns(t, "c")
	a := &attached{
		machine: m, veth: layout.Identify("pod", "c", "eth0").Veth,
		network: network.with([]string{checkedIP}, "runtimeConfig", "ips"),
	}
	a.attach(t)
	if msg := a.check(t); msg != "" {
		t.Fatalf("right after ADD: %s", msg)
	}
	damages := append(a.inContainer(), a.onHost()...)
	damages = append(damages, a.inLayout()...)
	damages = append(damages, a.onENI()...)
	damages = append(damages, a.inNFTables(t)...)
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			sh(t, d.on, d.line)
			if msg := a.check(t); !strings.Contains(msg, d.want) {
				t.Errorf("after %q CHECK says %q, want %q", d.line, msg, d.want)
			}
			if d.mend != "" {
				sh(t, d.on, d.mend)
			}
			a.attach(t)
			if msg := a.check(t); msg != "" {
				t.Fatalf("put back, CHECK still says %q", msg)
			}
		})
	}
}

func (a *attached) inContainer() []damage {
	c := a.Container("c")
	return []damage{
		{"address", c, "ip addr del " + checkedIP + "/32 dev eth0", "address " + checkedIP + "/32", ""},
		{"gateway's route", c, "ip route del 169.254.1.1 dev eth0", "169.254.1.1 dev eth0 scope link", ""},
		{"default route", c, "ip route del default", "default via 169.254.1.1", ""},
		{"neighbour", c, "ip neigh del 169.254.1.1 dev eth0", "neighbour \"169.254.1.1 dev eth0", ""},
		{"neighbour's MAC", c, "ip neigh replace 169.254.1.1 dev eth0 lladdr 02:00:00:00:00:99 nud permanent", "02:00:00:00:00:99", ""},
		{"eth0 down", c, "ip link set eth0 down", "link eth0 is down", ""},
		{"lo down", c, "ip link set lo down", "link lo is down", ""},
		{"eth0 renamed", c, "ip link set eth0 name eth5", "link eth0 is missing", "ip link set eth5 name eth0"},
	}
}

func (a *attached) onHost() []damage {
	h := &a.Host
	return []damage{
		{"veth down", h, "ip link set " + a.veth + " down", "link " + a.veth + " is down", ""},
		{"veth", h, "ip link del " + a.veth, "link " + a.veth + " is missing", ""},
		{"proxy_arp", h, "echo 0 >/proc/sys/net/ipv4/conf/" + a.veth + "/proxy_arp", a.veth + "/proxy_arp is 0", ""},
		{"proxy_delay", h, "echo 80 >/proc/sys/net/ipv4/neigh/" + a.veth + "/proxy_delay", a.veth + "/proxy_delay is 80", ""},
		{"ip_forward", h, "echo 0 >/proc/sys/net/ipv4/ip_forward", "ip_forward is 0", ""},
		{"mark's rule", h, "ip rule del pref 1024", "1024: from all fwmark 0x80/0x80", ""},
	}
}

// inLayout is of the rules and routes of the network's layout, and of what marks packets.
func (a *attached) inLayout() []damage {
	h := &a.Host
	table := "main"
	if a.network["routing"] == "per-eni" {
		table = "101512"
	}
	of := " table " + table
	all := []damage{
		{"host route", h, "ip route del " + checkedIP + of, checkedIP + " dev " + a.veth, ""},
		{
			"host route to another", h, "ip route replace " + checkedIP + " dev eth0" + of, checkedIP + " dev " + a.veth,
			"ip route del " + checkedIP + " dev eth0" + of,
		},
	}
	if table == "main" {
		return append(
			all,
			damage{"rule to", h, "ip rule del pref 512 to " + checkedIP, "512: from all to " + checkedIP, ""},
			damage{"rule from", h, "ip rule del pref 1536 from " + checkedIP, "1536: from " + checkedIP, ""},
			damage{
				"rule from, to another table", h,
				"ip rule del pref 1536 from " + checkedIP + "; ip rule add pref 1536 from " + checkedIP + " lookup 77 proto 101", "lookup 77", "",
			},
		)
	}
	all = append(
		all,
		damage{"rule to all", h, "ip rule del pref 512 lookup 101512", "512: from all lookup 101512", ""},
		damage{"rule of the number", h, "ip rule del pref 1536 fwmark 0x2/0x3f", "1536: from all fwmark 0x2/0x3f", ""},
		damage{"marked twice", h, "ip link set " + a.veth + " group 101", "10.19.16.101", ""},
	)
	if a.network["marking"] == "tcx" {
		return all
	}
	const marks = "ip enichain-eni"
	return append(
		all[:len(all)-1],
		damage{"group", h, "ip link set " + a.veth + " group 0", "nothing marks the packets of " + a.veth, ""},
		damage{"table of marks", h, "nft delete table " + marks, checkedIP, ""},
		damage{"numbers", h, "nft flush map " + marks + " eni", checkedIP, ""},
		damage{"rule that marks", h, "nft flush chain " + marks + " pods", "the rule of", ""},
	)
}

func (a *attached) onENI() []damage {
	h := &a.Host
	return []damage{
		{"rp_filter of eth0", h, "echo 1 >/proc/sys/net/ipv4/conf/eth0/rp_filter", "eth0/rp_filter is 1", ""},
		{"rp_filter of eth1", h, "echo 1 >/proc/sys/net/ipv4/conf/eth1/rp_filter", "eth1/rp_filter is 1", ""},
		{"ENI's address", h, "ip addr del 10.19.16.17/32 dev eth1", "address 10.19.16.17/32", ""},
		{"a foreign address on the ENI", h, "ip addr add 10.19.16.99/32 dev eth1", "10.19.16.99/32", "ip addr del 10.19.16.99/32 dev eth1"},
		{"ENI down", h, "ip link set eth1 down", "link eth1 is down", ""},
		{"ENI's route in main", h, "ip route del 10.19.16.17 dev eth1", "10.19.16.17 dev eth1 scope link", "ip route add 10.19.16.17 dev eth1 proto 101"},
		{"subnet's route in main", h, "ip route add 10.19.16.0/20 dev eth1", "10.19.16.0/20 dev eth1", "ip route del 10.19.16.0/20 dev eth1"},
		{
			"ENI's gateway", h, "ip route del 10.19.16.1 table 2", "10.19.16.1 dev eth1 table 2",
			"ip route add 10.19.16.1 dev eth1 table 2 scope link proto 101",
		},
		{"ENI's default", h, "ip route del default table 2", "default via 10.19.16.1 dev eth1 table 2", ""},
		{
			"rule to the ENI", h, "ip rule del pref 512 to 10.19.16.17", "512: from all to 10.19.16.17",
			"ip rule add pref 512 to 10.19.16.17 lookup main proto 101",
		},
		{"rule from the ENI", h, "ip rule del pref 1536 from 10.19.16.17", "1536: from 10.19.16.17", ""},
	}
}

// inNFTables takes the table away, each of its chains, each rule, and each element of its sets.
func (a *attached) inNFTables(t *testing.T) []damage {
	t.Helper()
	const table = "table ip enichain"
	h := &a.Host
	all := []damage{{"nftables table", h, "nft delete " + table, table, ""}}
	listed := sh(t, h, "nft -a list "+table)
	chain, set, n := "", "", 0
	isChain, isSet := regexp.MustCompile(`chain (\S+) \{`), regexp.MustCompile(`set (\S+) \{`)
	isRule, isElements := regexp.MustCompile(`comment .* # handle \d+$`), regexp.MustCompile(`elements = \{ (.*) \}`)
	for line := range strings.Lines(listed) {
		line = strings.TrimSpace(line)
		if f := isChain.FindStringSubmatch(line); f != nil {
			chain, n = f[1], 0
			all = append(all, damage{"chain " + chain, h, fmt.Sprintf("nft flush chain ip enichain %s; nft delete chain ip enichain %[1]s", chain), "chain " + chain, ""})
		} else if f := isSet.FindStringSubmatch(line); f != nil {
			set = f[1]
		} else if f := isElements.FindStringSubmatch(line); f != nil {
			for element := range strings.SplitSeq(f[1], ", ") {
				// Emptied, because nft 1.0 cannot delete a name with a '*', not even one of its own.
				line := fmt.Sprintf("nft flush set ip enichain %s", set)
				all = append(all, damage{"elements of " + set, h, line, "set " + set + " of " + table + " lacks " + element, ""})
			}
		} else if isRule.MatchString(line) {
			n++
			line := fmt.Sprintf("nft delete rule ip enichain %s handle $(nft -a list chain ip enichain %[1]s | "+
				"sed -n 's/.*comment.* # handle //p' | sed -n %dp)", chain, n)
			all = append(all, damage{fmt.Sprintf("rule %d of %s", n, chain), h, line, "chain " + chain, ""})
		}
	}
	if len(all) < 8 {
		t.Fatalf("%d pieces found in:\n%s", len(all), listed)
	}
	return all
}

// The store's own entry is a piece too, which no ADD of the same container brings back as it was.
func TestCheckNamesTheStoresEntry(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.netns(t, "c")
	network := static()
	with := network.with(json.RawMessage(m.add(t, "c", network)), "prevResult")
	owner := store.Owner{Network: "enichain", ContainerID: "c", IfName: "eth0"}
	update := func(fn func(*store.Tx) error) {
		if err := m.Do(func() error { return store.At(dataDir).Update(context.Background(), fn) }); err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx *store.Tx) error { _, err := tx.Release(owner, 0); return err })
	for _, plugin := range []string{ptpPlugin, ipamPlugin} {
		m.fail(t, m.call(plugin, "CHECK", "c", with), 103, "eth0 of c in enichain", "holds no address")
	}
	for _, ip := range []string{"10.19.16.106", "10.19.16.107"} { // another address than the container has
		m.netns(t, ip)
		c := m.call(ipamPlugin, "ADD", "c", network.with([]string{ip}, "runtimeConfig", "ips"))
		m.succeed(t, c)
		m.fail(t, m.call(ipamPlugin, "CHECK", "c", with), 103, ip, "not in prevResult")
		m.succeed(t, m.call(ipamPlugin, "DEL", "c", network))
	}
	m.add(t, "c", network)
}
