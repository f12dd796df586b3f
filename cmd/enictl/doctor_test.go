package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/enichain/enichain/test/clouds"
	"github.com/vishvananda/netlink"
)

func TestDoctor(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		w := newWorld(t, c, c.Medium, nil)
		root := t.TempDir()
		has(t, w.ctl(0, "doctor", "-root", root), "ok    network net", "ok    eni-ipam is installed", "ok    eni-cloud-"+c.Name+" is installed",
			"ok    the store in", "ok    the metadata service answers", "ok    the API lists the ENIs of "+w.Instance.ID,
			"ok    the API tells the limits of "+c.Medium.Type, "ok    no rule of others", "ok    systemd-networkd does not run")

		w.Add("c1", nil)
		w.NS.Do(func() error {
			r := netlink.NewRule()
			r.Priority, r.Table, r.Mark = 100, 99, 1
			return netlink.RuleAdd(r)
		})
		w.IPAM["bacth"] = 1
		w.configure()
		w.Inject(clouds.Always(c.Fault(clouds.AnyCall, clouds.Refused)))
		if err := os.MkdirAll(filepath.Join(root, "run/systemd/netif"), 0o755); err != nil {
			t.Fatal(err)
		}
		has(t, w.ctl(1, "doctor", "-root", root), `BAD   the rule "100: from all`, "bacth", "BAD   the API lists the ENIs",
			"BAD   sysctl net/ipv4/ip_forward is 0, not 1: enictl repair sets it", "BAD   the link of eni-",
			"BAD   systemd-networkd flushes the rules of others")
	})
}

// Rules of eni-snat that somebody removed, or that nobody made, are missed where a container needs them, and repaired.
func TestDoctorMissesEniSNATsRules(t *testing.T) {
	t.Parallel()
	n := newLabNode(t, "aws")
	has(t, n.ctl(0, "doctor"), "ok    eni-snat can use nftables")
	for _, lost := range []string{"nft flush ruleset", "ip rule del pref 1024"} {
		if _, err := n.Output(t.Context(), nil, "sh", "-c", lost); err != nil {
			t.Fatal(err)
		}
		has(t, n.ctl(1, "doctor"), "BAD   eni-snat's rules, SNAT of network enichain: ", "enictl repair, puts it right")
		n.ctl(0, "repair")
		n.ctl(0, "doctor")
	}
}

func TestDoctorMissesBinaries(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		w := newWorld(t, c, c.Medium, map[string]any{"mode": "offline"})
		var out strings.Builder
		tool := &tool{ctx: t.Context(), out: &out, progress: &out, where: place{confDir: w.Dir, cniPath: w.Dir}}
		w.NS.Do(func() error {
			if err := tool.doctor([]string{"-root", w.Dir}); err == nil {
				return fmt.Errorf("nothing was found:\n%s", out.String())
			}
			return nil
		})
		has(t, out.String(), "BAD   eni-ipam is in no folder of CNI_PATH", "BAD   eni-ptp", "BAD   eni-cloud-"+c.Name, "the cloud is not asked")
	})
}
