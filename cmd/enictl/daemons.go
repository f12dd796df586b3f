package main

import (
	"bufio"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/enichain/enichain/core/layout"
)

// networkd says whether systemd-networkd, where it is installed, leaves the rules of others alone (networkd.conf(5),
// ManageForeignRoutingPolicyRules=, of systemd 249 and later).
func (c *checkup) networkd(root string) {
	if _, err := os.Stat(filepath.Join(root, "run/systemd/netif")); err != nil {
		c.good("systemd-networkd does not run")
		return
	}
	files := append([]string{filepath.Join(root, "etc/systemd/networkd.conf")},
		dropIns(root, "systemd/networkd.conf.d", "usr/lib", "usr/local/lib", "run", "etc")...)
	value := "yes"
	for _, f := range files {
		if v, found := setting(f, "ManageForeignRoutingPolicyRules"); found {
			value = v
		}
	}
	if slices.Contains([]string{"no", "false", "0", "off", "n", "f"}, strings.ToLower(value)) {
		c.good("systemd-networkd leaves the rules of others alone")
		return
	}
	c.bad("systemd-networkd flushes the rules of others when it starts: put [Network] and ManageForeignRoutingPolicyRules=no " +
		"into /etc/systemd/networkd.conf.d/enichain.conf, and ManageForeignRoutes=no as well; enictl repair heals")
}

// networkManager says whether NetworkManager, where it runs, leaves alone the ENIs that eni-ptp prepares: else it asks DHCP
// for an address and a default route for each (NetworkManager.conf(5), "unmanaged-devices"). Veths it leaves alone by a
// udev rule of its own.
func (c *checkup) networkManager(root string, links []eniLink) {
	if _, err := os.Stat(filepath.Join(root, "run/NetworkManager")); err != nil {
		c.good("NetworkManager does not run")
		return
	}
	// Packages' and the boot's own come before the main file, the operator's after it.
	files := append(dropIns(root, "NetworkManager/conf.d", "usr/lib", "run"), filepath.Join(root, "etc/NetworkManager/NetworkManager.conf"))
	files = append(files, dropIns(root, "NetworkManager/conf.d", "etc")...)
	var unmanaged string
	for _, f := range files {
		if v, found := setting(f, "unmanaged-devices"); found {
			unmanaged = v
		}
		if v, found := setting(f, "unmanaged-devices+"); found {
			unmanaged += ";" + v
		}
	}
	var taken []string
	primary := "eth0"
	for _, l := range links {
		if l.primary {
			primary = l.Name
		} else if !excluded(unmanaged, l.Name, l.MAC.String()) {
			taken = append(taken, l.Name)
		}
	}
	if len(taken) == 0 {
		c.good("NetworkManager leaves the ENIs of containers alone")
		return
	}
	c.bad("NetworkManager manages %s: put [keyfile] and unmanaged-devices=interface-name:%s*;interface-name:%s*;except:interface-name:%s "+
		"into /etc/NetworkManager/conf.d/enichain.conf, run nmcli general reload, then enictl repair",
		strings.Join(taken, ", "), layout.VethPrefix, strings.TrimRight(primary, "0123456789"), primary)
}

// excluded says whether a list of devices (NetworkManager.conf(5), "Device List Format") has the interface: by its name, its
// MAC or '*'; "except:" wins. What else such a list may say, of drivers and types, is not judged.
func excluded(list, name, mac string) bool {
	found := false
	for entry := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == ';' }) {
		entry, except := strings.CutPrefix(strings.TrimSpace(entry), "except:")
		if !names(entry, name, mac) {
			continue
		}
		if except {
			return false
		}
		found = true
	}
	return found
}

// names says whether one entry of such a list is about the interface.
func names(entry, name, mac string) bool {
	if address, ok := strings.CutPrefix(entry, "mac:"); ok {
		return strings.EqualFold(address, mac)
	}
	pattern := strings.TrimPrefix(entry, "interface-name:")
	if literal, ok := strings.CutPrefix(pattern, "="); ok {
		return literal == name
	}
	matches, err := path.Match(pattern, name)
	return err == nil && matches || strings.EqualFold(pattern, mac)
}

// dropIns lists the configuration files that lie in a folder below each of the roots' dirs, in the order in which daemons read
// them: by name, where one in a later dir hides those of its name in the others.
func dropIns(root, folder string, dirs ...string) []string {
	byName := map[string]string{}
	for _, dir := range dirs {
		found, _ := filepath.Glob(filepath.Join(root, dir, folder, "*.conf")) // fails for a bad pattern alone
		for _, f := range found {
			byName[filepath.Base(f)] = f
		}
	}
	files := make([]string, 0, len(byName))
	for _, f := range byName {
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	return files
}

// setting reads the last value of a key in a file of systemd's and NetworkManager's form.
func setting(file, key string) (value string, found bool) {
	f, err := os.Open(file)
	if err != nil {
		return "", false
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		k, v, ok := strings.Cut(lines.Text(), "=")
		if ok && strings.TrimSpace(k) == key {
			value, found = strings.TrimSpace(v), true
		}
	}
	return value, found
}
