package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/enichain/enichain/test/clouds"
	"github.com/google/go-cmp/cmp"
)

func TestTheShippedConflistsAreRight(t *testing.T) {
	shipped, err := filepath.Glob("../../conflist/*.conflist")
	if err != nil || len(shipped) < 3 {
		t.Fatalf("shipped: %v, %v", shipped, err)
	}
	for _, file := range shipped {
		list, err := readConflist(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := inspect(list); len(got) > 0 {
			t.Errorf("%s: %v", file, got)
		}
	}
}

func TestLint(t *testing.T) {
	const head = `{"cniVersion": "1.0.0", "name": "net", "plugins": [`
	const ipam = `"ipam": {"type": "eni-ipam", "cloud": "aws"}`
	tests := []struct {
		name, conflist string
		want           []string
	}{
		{"right", head + `{"type": "eni-ptp", ` + ipam + `}, {"type": "eni-snat"}]}`, nil},
		{"right in one", head + `{"type": "eni-ptp", "snat": {}, ` + ipam + `}]}`, nil},
		{
			"eni-snat twice", head + `{"type": "eni-ptp", "snat": {"backend": "iptables"}, ` + ipam + `}, {"type": "eni-snat"}]}`,
			[]string{`eni-snat is in the list, and in eni-ptp's "snat" too: once will do`},
		},
		{
			"wrong values within", head + `{"type": "eni-ptp", "snat": {"backend": "ebpf", "bakend": 1}, ` + ipam + `}, {"type": "portmap"}]}`,
			[]string{
				`plugins[0].snat.bakend: unknown field; is "backend" meant?`, `plugins[0].snat: "backend" is "ebpf": "nftables" or "iptables" is wanted`,
			},
		},
		{
			"no object within", head + `{"type": "eni-ptp", "snat": true, ` + ipam + `}]}`,
			[]string{`plugins[0]: "snat" is true: an object is wanted, with what docs/eni-snat.md lists; {} has the defaults`},
		},
		{
			"two stores within", head + `{"type": "eni-ptp", "snat": {"dataDir": "/x"}, ` + ipam + `}]}`,
			[]string{`eni-snat's "dataDir" is /x, and that of "ipam" /run/enichain: they must be the same`},
		},
		{
			"unknown fields", `{"cniVersion": "1.0.0", "nmae": "x", "name": "net", "plugins": [{"type": "eni-ptp", "mut": 1500, "colour": 1,
			"ipam": {"type": "eni-ipam", "cloud": "aws", "warm": {"mim": 3}, "coolDwon": "30s", "driver": {"region": "any"}}}]}`,
			[]string{
				`nmae: unknown field; is "name" meant?`, `plugins[0].colour: unknown field`, `plugins[0].mut: unknown field; is "mtu" meant?`,
				`plugins[0].ipam.coolDwon: unknown field; is "cooldown" meant?`, `plugins[0].ipam.warm.mim: unknown field; is "min" meant?`,
			},
		},
		{
			"unknown fields of a static pool", head + `{"type": "eni-ptp", "ipam": {"type": "eni-ipam", "cloud": "static", "static": {"enis": [
			{"name": "eth0", "primary": true, "subnett": "x", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1", "primaryIP": "10.0.0.9"}]}}}]}`,
			[]string{`plugins[0].ipam.static.enis[0].subnett: unknown field; is "subnet" meant?`},
		},
		{
			"wrong values", head + `{"type": "eni-ptp", "mtu": 12, "ipam": {"type": "eni-ipam"}}, {"type": "eni-snat", "backend": "ebpf"}]}`,
			[]string{
				`plugins[0]: "mtu" is 12: it must be from 576 to 65535, or 0 for that of the ENI`,
				`plugins[0].ipam: "cloud" is missing: "aws", or "static" for a pool without a cloud`,
				`plugins[1]: "backend" is "ebpf": "nftables" or "iptables" is wanted`,
			},
		},
		{
			"order", head + `{"type": "eni-snat"}, {"type": "eni-ptp", ` + ipam + `}]}`,
			[]string{"plugins[1]: eni-ptp makes the interface, and so must be the first", "plugins[0]: eni-snat needs the result of a plugin before it"},
		},
		{
			"portmap before eni-snat", head + `{"type": "eni-ptp", ` + ipam + `}, {"type": "portmap"}, {"type": "eni-snat"}, {"type": "eni-snat"}]}`,
			[]string{"plugins[1]: portmap belongs behind eni-snat", "plugins[3]: eni-snat is in the list twice"},
		},
		{
			"versions", `{"cniVersion": "1.1.0", "cniVersions": ["2.0.0"], "plugins": [{"type": "eni-ptp", ` + ipam + `}]}`,
			[]string{
				`"name" is missing`, `cniVersions[0]: "2.0.0" is none of 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0`,
				`cniVersion: runtimes that speak 1.0.0 at the most refuse it: say "1.0.0", and "1.1.0" in "cniVersions"`,
			},
		},
		{
			"two stores", head + `{"type": "eni-ptp", ` + ipam + `}, {"type": "eni-snat", "dataDir": "/x"}]}`,
			[]string{`eni-snat's "dataDir" is /x, and that of "ipam" /run/enichain: they must be the same`},
		},
		{"another's", head + `{"type": "bridge", "ipam": {"type": "host-local"}}]}`, []string{`no plugin's "ipam" is eni-ipam`}},
		{
			"one plugin", `{"cniVersion": "1.0.0", "name": "net", "type": "eni-ptp", ` + ipam + `}`,
			[]string{`"plugins" is missing: this is one plugin's configuration, and runtimes take lists`},
		},
		{"no type", head + `{` + ipam + `}]}`, []string{`plugins[0]: "type" is missing`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x.conflist")
			if err := os.WriteFile(file, []byte(tt.conflist), 0o600); err != nil {
				t.Fatal(err)
			}
			list, err := readConflist(file)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range inspect(list) {
				got = append(got, f.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("unexpected findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLintOnTheCommandLine(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		w := newWorld(t, c, c.Medium, map[string]any{"bacth": 3})
		has(t, w.ctl(1, "lint"), `10-test.conflist: plugins[0].ipam.bacth: unknown field; is "batch" meant?`)
		delete(w.IPAM, "bacth")
		file := w.write("20.conflist", w.conflist())
		has(t, w.ctl(0, "lint", file), "nothing is wrong")
		has(t, w.ctl(0, "-conflist", file, "lint"), "nothing is wrong")
		if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		has(t, w.ctl(1, "lint", file), "unexpected end of JSON")
		if got := w.ctl(1, "lint", w.write("x.conf", w.conflist())); !strings.Contains(got, "ends in .conflist") {
			t.Error(got)
		}
	})
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"warm", "warm", 0}, {"mim", "min", 1}, {"kitten", "sitting", 3}, {"batch", "bacth", 1}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("from %q to %q it is %d, not %d", tt.a, tt.b, got, tt.want)
		}
	}
}
