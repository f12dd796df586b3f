package main

import (
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

// TestForwardWithoutPrograms shows that a filter of iptables-legacy that another's program left, a container's perhaps, needs
// no program here as long as it drops nothing, and that it is said where it does.
func TestForwardWithoutPrograms(t *testing.T) {
	n := newNode(t)
	n.sh("iptables-legacy -A FORWARD -j ACCEPT")
	n.wrap = []string{"sh", "-c", `mount --make-rprivate / && mount -t tmpfs none /usr/sbin && exec "$@"`, "sh"}
	n.ok("ADD", n.conf(nil), "PATH=/usr/bin:/bin")
	n.ok("CHECK", n.conf(nil), "PATH=/usr/bin:/bin")
	n.sh("iptables-legacy -P FORWARD DROP")
	n.refused("ADD", n.conf(nil), types.ErrInvalidNetworkConfig, "chain FORWARD of iptables-legacy", "PATH=/usr/bin:/bin")
	n.refused("ADD", n.conf(nil), types.ErrInvalidNetworkConfig, `"forward": false`, "PATH=/usr/bin:/bin")
	n.ok("ADD", n.conf(map[string]any{"forward": false}), "PATH=/usr/bin:/bin")
}
