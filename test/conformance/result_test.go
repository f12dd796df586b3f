package conformance

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/core/layout"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/lab"
)

// link is what the kernel says of a link: iproute2's JSON.
type link struct {
	Address string `json:"address"`
	MTU     int    `json:"mtu"`
}

func linkOf(t *testing.T, h *lab.Host, name string) link {
	t.Helper()
	var links []link
	if err := json.Unmarshal([]byte(sh(t, h, "ip -j link show dev "+name)), &links); err != nil || len(links) != 1 {
		t.Fatalf("%s: %v, %v", name, links, err)
	}
	return links[0]
}

// fields reads a document as it is, to be compared field by field: no field more, none less.
func fields(t *testing.T, document []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(document, &m); err != nil {
		t.Fatalf("%v: %s", err, document)
	}
	return m
}

// Each version of the specification has its own form of a result (SPEC.md, "Success"), which tells the truth about the
// kernel: the host's end, then the container's with its sandbox as it was given.
func TestResult(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{})
	const ip = "10.19.16.101"
	dns := conf{"nameservers": []any{"10.19.0.2"}, "domain": "local", "search": []any{"a.local"}, "options": []any{"ndots:5"}}
	for _, v := range versions() {
		t.Run(v, func(t *testing.T) {
			netns := m.netns(t, "c"+v)
			network := static().with(v, "cniVersion").with(dns, "dns").with([]string{ip}, "runtimeConfig", "ips")
			c := m.call(ptpPlugin, "ADD", "c"+v, network)
			c.Env["CNI_NETNS"] = "/run/../" + netns // verbatim is verbatim
			printed := m.succeed(t, c)
			veth := layout.Identify("pod", "c"+v, "eth0").Veth
			host, inside := linkOf(t, &m.Host, veth), linkOf(t, m.Container(netns), "eth0")
			want := map[string]any{
				"cniVersion": v,
				"interfaces": []any{
					map[string]any{"name": veth, "mac": host.Address, "mtu": float64(host.MTU)},
					map[string]any{"name": "eth0", "mac": inside.Address, "mtu": float64(inside.MTU), "sandbox": c.Env["CNI_NETNS"]},
				},
				"ips": []any{map[string]any{"interface": 1.0, "address": ip + "/32", "gateway": "169.254.1.1"}},
				"routes": []any{
					map[string]any{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}, map[string]any{"dst": "169.254.1.1/32"},
				},
				"dns": map[string]any(dns),
			}
			if v < "1.0.0" {
				inVersion0(want)
			}
			if diff := cmp.Diff(want, fields(t, printed)); diff != "" {
				t.Errorf("unexpected result (-want +got):\n%s", diff)
			}
			chained := network.snat().with(json.RawMessage(printed), "prevResult")
			if diff := cmp.Diff(want, fields(t, m.succeed(t, m.call(snatPlugin, "ADD", "c"+v, chained)))); diff != "" {
				t.Errorf("eni-snat changed the result (-want +got):\n%s", diff)
			}
			m.del(t, "c"+v, network)
		})
	}
}

// inVersion0 makes a result what it was before 1.0.0: an address has a version, an interface no MTU.
func inVersion0(result map[string]any) {
	for _, i := range result["interfaces"].([]any) {
		delete(i.(map[string]any), "mtu")
	}
	for _, ip := range result["ips"].([]any) {
		ip.(map[string]any)["version"] = "4"
	}
}

// A result has an address of each family that the network wants, in its order and in the form of each version; routes and the
// gateway are those of the family. CHECK passes right after ADD, and nothing is left.
func TestResultWithIPv6(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2, IPv6: true})
	of := func(families ...string) conf {
		return on(clouds.AWS()).with(families, "ipam", "families").with(1, "ipam", "firstDeviceIndex").with(2, "ipam", "maxENIs")
	}
	m.netns(t, "first") // prepares the ENI, and leaves what eni-snat has for all
	dual := of("ipv4", "ipv6")
	m.succeed(t, m.call(snatPlugin, "ADD", "first", dual.snat().with(json.RawMessage(m.add(t, "first", dual)), "prevResult")))
	m.del(t, "first", dual)
	if err := m.DelNetns("first"); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		network conf
		want    string
	}{
		"both": {
			dual, "/32 169.254.1.1 4, /128 fe80::1 6; 0.0.0.0/0 169.254.1.1, 169.254.1.1/32 <nil>, ::/0 fe80::1, fe80::1/128 <nil>",
		},
		"ipv6": {of("ipv6"), "/128 fe80::1 6; ::/0 fe80::1, fe80::1/128 <nil>"},
	} {
		for _, v := range versions() {
			t.Run(name+" "+v, func(t *testing.T) {
				before := m.state(t)
				network, id := tt.network.with(v, "cniVersion"), name+v
				m.netns(t, id)
				printed := m.add(t, id, network)
				if got := familiesOf(t, printed, v); got != tt.want {
					t.Errorf("the result has %s, want %s", got, tt.want)
				}
				whole := network.with(json.RawMessage(printed), "prevResult")
				if v >= "0.4.0" {
					for _, plugin := range []string{ptpPlugin, ipamPlugin} {
						m.succeed(t, m.call(plugin, "CHECK", id, whole))
					}
				}
				chained := network.snat().with(json.RawMessage(printed), "prevResult")
				if diff := cmp.Diff(fields(t, printed), fields(t, m.succeed(t, m.call(snatPlugin, "ADD", id, chained)))); diff != "" {
					t.Errorf("eni-snat changed the result (-want +got):\n%s", diff)
				}
				m.succeed(t, m.call(snatPlugin, "DEL", id, chained))
				m.del(t, id, network)
				m.unchanged(t, before)
			})
		}
	}
}

// familiesOf words the addresses of a result, but for what they are, and its routes.
func familiesOf(t *testing.T, printed []byte, version string) string {
	t.Helper()
	var ips, routes []string
	document := fields(t, printed)
	for _, entry := range document["ips"].([]any) {
		ip := entry.(map[string]any)
		address := netip.MustParsePrefix(ip["address"].(string))
		family := "6"
		if address.Addr().Is4() {
			family = "4"
		}
		if told, ok := ip["version"]; ok != (version < "1.0.0") || ok && told != family {
			t.Errorf("%s: the version of %s is told as %v", version, address, told)
		}
		ips = append(ips, fmt.Sprintf("/%d %v %s", address.Bits(), ip["gateway"], family))
	}
	for _, entry := range document["routes"].([]any) {
		route := entry.(map[string]any)
		routes = append(routes, fmt.Sprintf("%v %v", route["dst"], route["gw"]))
	}
	return strings.Join(ips, ", ") + "; " + strings.Join(routes, ", ")
}

// An IPAM plugin's result has neither interfaces nor indexes of such, and nothing that other main plugins do not know.
func TestIPAMResult(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	for _, v := range versions() {
		for addressing, want := range map[string]struct{ address, gateway string }{
			"routed": {"10.19.16.102/32", "169.254.1.1"},
			"subnet": {"10.19.16.102/20", "10.19.16.1"},
		} {
			t.Run(v+" "+addressing, func(t *testing.T) {
				m.netns(t, "c")
				network := static().with(v, "cniVersion").with(addressing, "ipam", "addressing").
					with([]string{"10.19.16.102"}, "runtimeConfig", "ips")
				got := fields(t, m.succeed(t, m.call(ipamPlugin, "ADD", "c", network)))
				ip := map[string]any{"address": want.address, "gateway": want.gateway}
				wanted := map[string]any{
					"cniVersion": v, "ips": []any{ip}, "routes": []any{map[string]any{"dst": "0.0.0.0/0", "gw": want.gateway}},
				}
				if v < "1.0.0" {
					ip["version"], wanted["dns"] = "4", map[string]any{}
				}
				if diff := cmp.Diff(wanted, got); diff != "" {
					t.Errorf("unexpected result (-want +got):\n%s", diff)
				}
				m.succeed(t, m.call(ipamPlugin, "DEL", "c", network))
				if err := m.DelNetns("c"); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// CHECK passes right after ADD, where CRI-O runs it, in each version that has it; and nothing is left after DEL.
func TestLife(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{})
	for _, v := range versions() {
		m.warm(t, static().with(v, "cniVersion"))
		before := m.state(t)
		m.netns(t, "c"+v)
		network := static().with(v, "cniVersion")
		printed := m.add(t, "c"+v, network)
		if ip := address(t, printed); !netip.MustParsePrefix("10.19.16.0/20").Contains(ip) {
			t.Errorf("%s: the container has %s", v, ip)
		}
		whole := network
		if v >= "0.4.0" {
			whole = network.with(json.RawMessage(printed), "prevResult")
			for _, plugin := range []string{ptpPlugin, ipamPlugin} {
				m.succeed(t, m.call(plugin, "CHECK", "c"+v, whole))
			}
		}
		m.del(t, "c"+v, whole)
		m.unchanged(t, before)
	}
}
