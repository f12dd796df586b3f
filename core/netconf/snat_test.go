package netconf

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseSNAT(t *testing.T) {
	c, err := ParseSNAT([]byte(`{"cniVersion":"1.0.0","name":"n","type":"eni-snat","snat":false,"cni.dev/x":[1]}`))
	if err != nil {
		t.Fatal(err)
	}
	if *c.SNAT || !*c.NodePort || c.DataDir != DefaultDataDir || c.Backend != NFTables {
		t.Errorf("defaults are wrong: %+v", c)
	}
}

func TestParseSNATRefuses(t *testing.T) {
	tests := []struct{ conf, want string }{
		{`{`, "read network configuration"},
		{`{"backend":"ebpf"}`, `"nftables" or "iptables" is wanted`},
		{`{"backend":"iptables","primary":"ens+"}`, `takes the '+' at the end of "ens+" for any rest`},
		{`{"backend":"iptables","containerInterfaces":["pod*","a+*"]}`, `the '+' at the end of "a+*"`},
		{`{"dataDir":"state"}`, "not an absolute path"},
		{`{"primaryIP":"fd00::1"}`, "IPv4 address"},
		{`{"primaryIP":"0.0.0.0"}`, "IPv4 address"},
		{`{"vpcCIDRs":["fd00::/8"]}`, `"vpcCIDRs" has fd00::/8: only IPv4`},
		{`{"excludeCIDRs":["10.0.5.0/16"]}`, "is 10.0.0.0/16 meant?"},
		{`{"includeCIDRs":[""]}`, "empty entry"},
		{`{"includeCIDRs":["10.0.0.0/99"]}`, "read network configuration"},
		{`{"primary":"a name"}`, "name of an interface"},
		{`{"primary":"longer-than-fifteen"}`, "name of an interface"},
		{`{"containerInterfaces":["*"]}`, "beginning of one"},
		{`{"containerInterfaces":["po*d"]}`, "beginning of one"},
		{`{"containerInterfaces":["pod\""]}`, "beginning of one"},
		{`{"primary":"eth0","containerInterfaces":["eth*"]}`, "the primary interface eth0 too"},
		{`{"primary":"eth0","containerInterfaces":["eth0"]}`, "the primary interface eth0 too"},
	}
	for _, tt := range tests {
		if _, err := ParseSNAT([]byte(tt.conf)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want ...%s...", tt.conf, err, tt.want)
		}
	}
}

func TestSNATOf(t *testing.T) {
	const head = `{"cniVersion": "1.0.0", "name": "net", "type": "eni-ptp", "mtu": 1400, "prevResult": {"old": 1}, `
	for name, tt := range map[string]struct{ ptp, result, want string }{
		"none":                    {head + `"ipam": {"type": "eni-ipam"}}`, "", ""},
		"the defaults":            {head + `"snat": {}}`, "", `{"cniVersion":"1.0.0","name":"net","prevResult":{"old":1},"type":"eni-snat"}`},
		"the result of an ADD":    {head + `"snat": {}}`, `{"new":1}`, `{"cniVersion":"1.0.0","name":"net","prevResult":{"new":1},"type":"eni-snat"}`},
		"the store of the IPAM":   {head + `"ipam": {"type": "eni-ipam", "dataDir": "/x"}, "snat": {}}`, `{}`, `{"cniVersion":"1.0.0","dataDir":"/x","name":"net","prevResult":{},"type":"eni-snat"}`},
		"another store":           {head + `"ipam": {"type": "eni-ipam", "dataDir": "/x"}, "snat": {"dataDir": "/y"}}`, `{}`, `{"cniVersion":"1.0.0","dataDir":"/y","name":"net","prevResult":{},"type":"eni-snat"}`},
		"another IPAM's folder":   {head + `"ipam": {"type": "host-local", "dataDir": "/x"}, "snat": {}}`, `{}`, `{"cniVersion":"1.0.0","name":"net","prevResult":{},"type":"eni-snat"}`},
		"fields that are not its": {head + `"snat": {"type": "x", "name": "y", "backend": "iptables"}}`, `{}`, `{"backend":"iptables","cniVersion":"1.0.0","name":"net","prevResult":{},"type":"eni-snat"}`},
		"no object":               {head + `"snat": 5}`, "", "error"},
		"nothing":                 {head + `"snat": null}`, "", "error"},
		"no configuration":        {`[]`, "", "error"},
	} {
		var result json.RawMessage
		if tt.result != "" {
			result = json.RawMessage(tt.result)
		}
		got, err := SNATOf([]byte(tt.ptp), result)
		if text := string(got); text != tt.want && err == nil || (err != nil) != (tt.want == "error") {
			t.Errorf("%s: got %s, %v, want %s", name, text, err, tt.want)
		}
	}
}
