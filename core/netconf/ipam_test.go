package netconf

import (
	"fmt"
	"strings"
	"testing"
)

func TestIPAMIsRefused(t *testing.T) {
	eth0 := `{"name":"eth0","primary":true,"subnet":"10.0.0.0/24","gateway":"10.0.0.1","primaryIP":"10.0.0.10","addresses":["10.0.0.16-10.0.0.31"]}`
	static := func(enis ...string) string {
		return `"cloud":"static","static":{"enis":[` + strings.Join(enis, ",") + `]}`
	}
	with := func(more string) string {
		return strings.Replace(eth0, `"primary":true,"subnet":"10.0.0.0/24","gateway":"10.0.0.1","primaryIP":"10.0.0.10","addresses":["10.0.0.16-10.0.0.31"]`,
			`"subnet":"10.0.0.0/24","gateway":"10.0.0.1","primaryIP":"10.0.0.11",`+more, 1)
	}
	eth1 := func(addresses string) string {
		return strings.Replace(with(`"addresses":[`+addresses+`]`), "eth0", "eth1", 1)
	}
	dual1 := func(addresses string) string {
		return strings.Replace(eth1(addresses), `"addresses"`, `"subnet6":"fd00::/64","gateway6":"fe80::1","primaryIP6":"fd00::a","addresses"`, 1)
	}
	tests := []struct{ name, section, want string }{
		{"good", static(eth0, eth1(`"10.0.0.32-10.0.0.40","10.0.0.50"`)), ""},
		{"the gateway as a container's", static(eth0, eth1(`"10.0.0.1-10.0.0.9"`)), "10.0.0.1 is listed twice: it is a gateway"},
		{"the broadcast address", static(eth0, eth1(`"10.0.0.250-10.0.0.255"`)), "10.0.0.255"},
		{"the subnet's own address", static(eth0, eth1(`"10.0.0.0"`)), "10.0.0.0"},
		{"another's address", static(eth0, eth1(`"10.0.0.31"`)), "10.0.0.31 is listed twice"},
		{"another's primary address", static(eth0, eth1(`"10.0.0.10"`)), "10.0.0.10 is listed twice"},
		{"one interface twice", static(eth0, with(`"addresses":[]`)), "eth0 is listed twice"},
		{"one MAC twice, spelt in two ways", static(eth0,
			strings.Replace(with(`"addresses":[]`), `"name":"eth0"`, `"mac":"02:00:00:00:00:0a"`, 1),
			strings.NewReplacer(`"name":"eth0"`, `"mac":"02-00-00-00-00-0A"`, "10.0.0.11", "10.0.0.12").Replace(with(`"addresses":[]`))), "02:00:00:00:00:0a is listed twice"},
		{"a mapped address", static(eth0, eth1(`"::ffff:10.0.0.60"`)), "leaves the subnet"},
		{
			"IPv6", static(strings.NewReplacer("10.0.0.0/24", "fd00::/64", "10.0.0.16-10.0.0.31", "fd00::16-fd00::31", "10.0.0.10", "fd00::10", "10.0.0.1", "fd00::1").Replace(eth0)),
			`"subnet" fd00::/64 is of IPv6: an interface has IPv4 too, and "subnet6"`,
		},
		{"both families", static(eth0, dual1(`"10.0.0.40","fd00::10-fd00::1f","fd00:0:0:0:5::/80"`)) + `,"families":["ipv6","ipv4"]`, ""},
		{"IPv6 without its subnet", static(eth0, eth1(`"fd00::10"`)), "leaves the subnet"},
		{"a subnet of IPv6 without its gateway", static(eth0, strings.Replace(dual1(`"fd00::10"`), `"gateway6":"fe80::1",`, "", 1)), `"subnet6" and "gateway6" go together`},
		{"a gateway of IPv6 elsewhere", static(eth0, strings.Replace(dual1(`"fd00::10"`), "fe80::1", "fd01::1", 1)), `"gateway6" fd01::1 must be link-local, or in "subnet6" fd00::/64`},
		{"an address of IPv6 that is the host's", static(eth0, dual1(`"fd00::a"`)), "fd00::a is listed twice"},
		{"an address of IPv6 that is the gateway's", static(eth0, strings.Replace(dual1(`"fd00::1-fd00::5"`), "fe80::1", "fd00::1", 1)), "fd00::1 is listed twice: it is a gateway"},
		{"a prefix with the gateway", static(eth0, strings.NewReplacer("fe80::1", "fd00::1", `"primaryIP6":"fd00::a",`, "").Replace(dual1(`"fd00::/80"`))), "prefix fd00::/80 holds an address that is listed, or a gateway"},
		{"the address of all routers of a subnet", static(eth0, dual1(`"fd00::"`)), "fd00:: is the first or the last address of the subnet fd00::/64"},
		{"a prefix beyond its subnet", static(eth0, dual1(`"fd01::/80"`)), `no prefix within "subnet6" fd00::/64`},
		{"a prefix of IPv4", static(eth0, dual1(`"10.0.0.32/28"`)), `of IPv4, "FROM-TO" is wanted`},
		{"a prefix with the host's address", static(eth0, dual1(`"fd00::/80"`)), "prefix fd00::/80 holds an address that is listed"},
		{"a prefix twice", static(eth0, dual1(`"fd00:0:0:0:5::/80","fd00:0:0:0:5::/96"`)), "prefix fd00::5:0:0:0/80 overlaps fd00::5:0:0:0/96"},
		{"no such family", `"cloud":"aws","families":["ipv4","ipx"]`, `"families" is ["ipv4" "ipx"]`},
		{"a family twice", `"cloud":"aws","families":["ipv4","ipv4"]`, `"families" is ["ipv4" "ipv4"]`},
		{"prefixes where there are some", `"cloud":"aws","prefixes":true`, ""},
		{"prefixes where there are none", `"cloud":"tencent","prefixes":true`, `"prefixes" is true, and tencent has none`},
		{"prefixes without a cloud", static(eth0) + `,"prefixes":true`, "static has none"},
		{"centuries", `"cloud":"aws","timeout":"2500000h"`, "a day at most"},
		{"a rest of centuries", `"cloud":"aws","cooldown":"2562047h"`, "a day at most"},
	}
	for _, tt := range tests {
		r, err := ParseIPAM([]byte(`{"cniVersion":"1.0.0","name":"n","type":"t","ipam":{"type":"eni-ipam",` + tt.section + `}}`))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		err = r.Validate()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestRequestedIPs(t *testing.T) {
	const dual = `"ipam": {"families": ["ipv4", "ipv6"]}`
	for name, tt := range map[string]struct {
		fields, args string
		want         string // with spaces between them
		wantErr      string
	}{
		"none":                 {},
		"CNI_ARGS":             {args: "IgnoreUnknown=1;IP=10.0.0.1", want: "10.0.0.1"},
		"args.cni first":       {fields: `"args": {"cni": {"ips": ["10.0.0.2/24"]}}`, args: "IP=10.0.0.1", want: "10.0.0.2"},
		"runtimeConfig first":  {fields: `"runtimeConfig": {"ips": ["10.0.0.3"]}, "args": {"cni": {"ips": ["10.0.0.2"]}}`, want: "10.0.0.3"},
		"twice, as podman has": {fields: `"runtimeConfig": {"ips": ["10.0.0.3/32", "10.0.0.3"]}`, args: "IP=10.0.0.3", want: "10.0.0.3"},
		"two":                  {fields: `"runtimeConfig": {"ips": ["10.0.0.3", "10.0.0.4"]}`, wantErr: "2 addresses were asked for (10.0.0.3, 10.0.0.4), one of a family can be given"},
		"one of each family":   {fields: dual + `, "runtimeConfig": {"ips": ["2001:db8::3/64", "10.0.0.3"]}`, want: "2001:db8::3 10.0.0.3"},
		"two of IPv6":          {fields: dual + `, "runtimeConfig": {"ips": ["2001:db8::3", "2001:db8::4"]}`, wantErr: "2 addresses were asked for"},
		"a family too many":    {args: "IP=2001:db8::3", wantErr: "the network gives no addresses of IPv6: \"families\" is [\"ipv4\"]"},
		"no address":           {args: "IP=x", wantErr: "requested address"},
		"no prefix":            {args: "IP=10.0.0.1/33", wantErr: "requested address"},
		"a zone":               {fields: dual, args: "IP=2001:db8::1%eth0", wantErr: "no zone"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ParseIPAM([]byte("{" + tt.fields + "}"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.RequestedIPs(tt.args)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("error %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Trim(fmt.Sprint(got), "[]"); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
