package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestDoctor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", nil)
	root := t.TempDir()
	has(t, w.ctl(0, "doctor", "-root", root), "ok    network net", "ok    eni-ipam is installed", "ok    eni-cloud-aws is installed",
		"ok    the store in", "ok    the metadata service answers", "ok    the API lists the ENIs of "+w.instance.ID,
		"ok    the API tells the limits of m5.large", "ok    no rule of others", "ok    systemd-networkd does not run")

	w.add("c1")
	w.ns.Do(func() error {
		r := netlink.NewRule()
		r.Priority, r.Table, r.Mark = 100, 99, 1
		return netlink.RuleAdd(r)
	})
	w.ipam["bacth"] = 1
	w.ipam["driver"].(map[string]string)["ec2Endpoint"] = "http://127.0.0.1:1"
	w.write("10-test.conflist", w.conflist())
	if err := os.MkdirAll(filepath.Join(root, "run/systemd/netif"), 0o755); err != nil {
		t.Fatal(err)
	}
	has(t, w.ctl(1, "doctor", "-root", root), `BAD   the rule "100: from all`, "bacth", "BAD   the API lists the ENIs",
		"BAD   sysctl net/ipv4/ip_forward is 0, not 1: enictl repair sets it", "BAD   the link of eni-",
		"BAD   systemd-networkd flushes the rules of others")
}

func TestDoctorMissesBinaries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "m5.large", map[string]any{"mode": "offline"})
	var out strings.Builder
	tool := &tool{ctx: t.Context(), out: &out, progress: &out, where: place{confDir: w.dir, cniPath: w.dir}}
	w.ns.Do(func() error {
		if err := tool.doctor([]string{"-root", w.dir}); err == nil {
			return fmt.Errorf("nothing was found:\n%s", out.String())
		}
		return nil
	})
	has(t, out.String(), "BAD   eni-ipam is in no folder of CNI_PATH", "BAD   eni-ptp", "BAD   eni-cloud-aws", "the cloud is not asked")
}
