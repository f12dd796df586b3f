package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/containernetworking/cni/pkg/utils"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/vpcsim"
)

const (
	netnsDir = "/run/netns"
	binDir   = "/opt/cni/bin"
	confDir  = "/etc/cni/net.d"
)

// Node is an instance of the VPC: a machine with ENIs. eth0 is configured as by DHCP; the others are down and bare.
type Node struct {
	Host
	InstanceID string

	rpFilter int
	cloud    []string // the cloud's part of the environment
	gateway6 netip.Addr
	links    *netlink.Handle
}

func newNode(name, instanceID string, rpFilter int, p provider) (*Node, error) {
	host, err := newHost(name, func() error { return errors.Join(prepareNode(rpFilter), p.nameHosts()) })
	if err != nil {
		return nil, err
	}
	n := &Node{Host: *host, InstanceID: instanceID, rpFilter: rpFilter, cloud: p.nodeEnv(), gateway6: p.gateway6}
	if n.links, err = n.Handle(unix.NETLINK_ROUTE); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

func (n *Node) close() error {
	if n.links != nil {
		n.links.Close()
	}
	return n.Host.close()
}

// prepareNode makes the calling thread's network what a freshly booted host of Debian has.
func prepareNode(rpFilter int) error {
	if err := linkUp("lo"); err != nil {
		return err
	}
	return write(hostSettings(rpFilter))
}

// hostSettings are those that decide where packets go. A new namespace takes them from the machine, so they are all
// given: the kernel's defaults, but for rp_filter, which distributions set for each interface.
func hostSettings(rpFilter int) []sysctl {
	s := []sysctl{
		{"ip_forward", "0"},
		{"tcp_l3mdev_accept", "0"},
		{"fwmark_reflect", "0"},
		{"tcp_fwmark_accept", "0"},
		{"icmp_ratelimit", "1000"},
		{"icmp_echo_ignore_all", "0"},
		{"ip_default_ttl", "64"},
	}
	for key, value := range map[string]string{
		"proxy_arp": "0", "proxy_arp_pvlan": "0", "arp_ignore": "0", "arp_announce": "0", "arp_filter": "0", "arp_notify": "0",
		"accept_local": "0", "route_localnet": "0", "src_valid_mark": "0", "accept_source_route": "0",
		"send_redirects": "1", "accept_redirects": "1", "secure_redirects": "1", "log_martians": "0",
		"disable_policy": "0", "ignore_routes_with_linkdown": "0", "promote_secondaries": "1",
	} {
		s = append(s, sysctl{"conf/all/" + key, value}, sysctl{"conf/default/" + key, value})
	}
	return append(s, sysctl{"conf/all/rp_filter", "0"}, sysctl{"conf/default/rp_filter", strconv.Itoa(rpFilter)})
}

// freeName returns the first name of a format that no link of the node has, as the kernel names devices.
func (n *Node) freeName(format string) (string, error) {
	links, err := n.links.LinkList()
	if err != nil {
		return "", fmt.Errorf("%s: list the links: %w", n.Name, err)
	}
	for number := 0; ; number++ {
		name := fmt.Sprintf(format, number)
		if !slices.ContainsFunc(links, func(l netlink.Link) bool { return l.Attrs().Name == name }) {
			return name, nil
		}
	}
}

// lease configures a link as a DHCP client would: the address with the subnet's mask, and the default route.
func (n *Node) lease(eni vpcsim.ENI, name string) error {
	link, err := n.links.LinkByName(name)
	if err != nil {
		return err
	}
	address := &netlink.Addr{IPNet: ipNet(eni.PrimaryIP, eni.Subnet.Bits())}
	if err := n.links.AddrAdd(link, address); err != nil {
		return fmt.Errorf("add %s: %w", address, err)
	}
	if err := n.links.LinkSetUp(link); err != nil {
		return fmt.Errorf("set the link up: %w", err)
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway(eni.Subnet).AsSlice()}
	if err := n.links.RouteAdd(route); err != nil {
		return fmt.Errorf("add the default route: %w", err)
	}
	if eni.PrimaryIP6.IsValid() {
		return n.lease6(eni.PrimaryIP6, name)
	}
	return nil
}

// Env returns the environment variables, beside those of any process, that the CNI's tools and the cloud's driver need in
// the node. Credentials are not among them: the instance's role has them.
func (n *Node) Env() []string {
	return append([]string{"CNI_PATH=" + binDir, "NETCONFPATH=" + confDir}, n.cloud...)
}

// InstallCNI makes a folder of binaries the node's /opt/cni/bin, read-only and as it is from then on, and the bytes given
// its only network configuration.
func (n *Node) InstallCNI(folder string, conflist []byte) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	return n.Do(func() error {
		if err := unix.Unmount(binDir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) { // not mounted yet
			return fmt.Errorf("%s: unmount %s: %w", n.Name, binDir, err)
		}
		if err := mount(folder, binDir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: install the binaries of %s: %w", n.Name, folder, err)
		}
		if err := mount("", binDir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
		return os.WriteFile(filepath.Join(confDir, "10-enichain.conflist"), conflist, 0o600)
	})
}

// AddNetns makes a container's network namespace, with nothing in it but lo, which is down, as runtimes do. It returns its
// path within the node.
func (n *Node) AddNetns(name string) (string, error) {
	path, err := n.netnsPath(name)
	if err != nil {
		return "", err
	}
	return path, n.Do(func() error {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
		if err != nil {
			return fmt.Errorf("%s: add the network namespace %s: %w", n.Name, name, err)
		}
		if err := errors.Join(f.Close(), unix.Unshare(unix.CLONE_NEWNET)); err != nil {
			return fmt.Errorf("%s: add the network namespace %s: %w", n.Name, name, err)
		}
		// A real container starts from its host's settings; here that would be the machine's.
		if err := write(hostSettings(n.rpFilter)); err != nil {
			return fmt.Errorf("%s: prepare the network namespace %s: %w", n.Name, name, err)
		}
		return mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
	})
}

// DelNetns removes a container's network namespace; its links go with it once no process is left in it.
func (n *Node) DelNetns(name string) error {
	path, err := n.netnsPath(name)
	if err != nil {
		return err
	}
	return n.Do(func() error {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("%s: delete the network namespace %s: %w", n.Name, name, err)
		}
		return os.Remove(path)
	})
}

// Container returns a container's network namespace as a host, by the name or the path that AddNetns knows it by; it need
// not exist yet. Its mounts are the node's.
func (n *Node) Container(name string) *Host {
	name = filepath.Base(name)
	return &Host{Name: n.Name + "/" + name, in: n.in, container: filepath.Join(netnsDir, name)}
}

func (n *Node) netnsPath(name string) (string, error) {
	if err := utils.ValidateContainerID(name); err != nil { // the same form: one path element
		return "", fmt.Errorf("%s: %q is no name of a network namespace", n.Name, name)
	}
	return filepath.Join(netnsDir, name), nil
}
