//go:build kube

package kube

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// machineState is what daemons of a cluster could do to the machine that the tests run on: its mounts, its links and rules,
// and the settings that a kubelet and a kube-proxy write.
func machineState() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	all := []string{string(mounts)}
	for _, command := range []string{"ip -br link", "ip -br addr", "ip -4 rule", "ip -6 rule", "ip -4 route show table all", "nft list ruleset"} {
		args := strings.Fields(command)
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s: %w: %s", command, err, out)
		}
		all = append(all, string(out))
	}
	for _, setting := range []string{
		"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys",
		"kernel/keys/root_maxbytes", "net/netfilter/nf_conntrack_max", "net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet",
		"net/ipv6/conf/all/forwarding",
	} {
		value, err := os.ReadFile("/proc/sys/" + setting)
		if err != nil && !os.IsNotExist(err) {
			return "", err
		}
		all = append(all, setting+"="+string(value))
	}
	return strings.Join(all, "\n"), nil
}
