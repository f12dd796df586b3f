package netconf_test

import (
	"strings"
	"testing"

	"github.com/enichain/enichain/core/netconf"
)

func TestParsePTP(t *testing.T) {
	p, err := netconf.ParsePTP([]byte(`{"name":"net","ipam":{"type":"eni-ipam"},"someRuntimesKey":{"a":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	if p.VethPrefix != "pod" || p.Routing != netconf.PerPod || p.Marking != netconf.Auto || p.IPAM.DataDir != netconf.DefaultDataDir || !p.OwnIPAM() {
		t.Errorf("unexpected defaults: %+v", p)
	}
	if _, err := netconf.ParsePTP([]byte(`{"mtu":"big"}`)); err == nil {
		t.Error("a string for a number was taken")
	}
}

func TestValidatePTP(t *testing.T) {
	tests := []struct{ conf, want string }{
		{`{"ipam":{"type":"host-local"},"mtu":576,"vethPrefix":"a"}`, ""},
		{`{"ipam":{"type":"host-local"},"mtu":65535,"vethPrefix":"eni","routing":"per-pod"}`, ""},
		{`{"ipam":{"type":"x"},"routing":"per-eni","marking":"nftables"}`, ""},
		{`{"ipam":{"type":"x"},"marking":"clsact"}`, `"marking" is "clsact": it must be "auto", "tcx" or "nftables"`},
		{`{}`, `"ipam" has no "type"`},
		{`{"ipam":{"type":"x"},"mtu":575}`, `"mtu" is 575: it must be from 576 to 65535`},
		{`{"ipam":{"type":"x"},"mtu":-1}`, `"mtu" is -1`},
		{`{"ipam":{"type":"x"},"vethPrefix":"pods"}`, `"vethPrefix" is "pods": it must be one to three letters`},
		{`{"ipam":{"type":"x"},"vethPrefix":"P1"}`, `"vethPrefix" is "P1"`},
		{`{"ipam":{"type":"x"},"routes":[{"dst":"10.0.0.0/8"},{"dst":"192.0.2.1/32","gw":"192.0.2.9"}],"defaultRoute":false}`, ""},
		{`{"ipam":{"type":"x"},"routes":[{"dst":"10.0.0.1/8"}]}`, `"routes" has "dst" "10.0.0.1/8": it must be a network`},
		{`{"ipam":{"type":"x"},"routes":[{"dst":"fd00::1/8"}]}`, `it must be a network`},
		{`{"ipam":{"type":"x"},"routes":[{"gw":"10.0.0.1"}]}`, `"routes" has "dst" ""`},
		{`{"ipam":{"type":"x"},"routes":[{"dst":"0.0.0.0/0"}]}`, `the default route is "defaultRoute"'s`},
		{`{"ipam":{"type":"x"},"routing":"ospf"}`, `"routing" is "ospf": it must be "per-pod" or "per-eni"`},
	}
	for _, tt := range tests {
		t.Run(tt.conf, func(t *testing.T) {
			p, err := netconf.ParsePTP([]byte(tt.conf))
			if err != nil {
				t.Fatal(err)
			}
			err = p.Validate()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("unexpected error:\n- want: %s\n-  got: %v", tt.want, err)
			}
		})
	}
}
