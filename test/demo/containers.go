package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/lab"
)

// node is a node of the lab and what is on it.
type node struct {
	*lab.Node
	primary    []netip.Addr
	links      []string // of its ENIs: eth0, eth1...
	containers []*container
	before     state
}

// container is one that cnitool added.
type container struct {
	id   string
	node *node
	host *lab.Host
	ips  []netip.Addr
	link string // of the ENI whose addresses it has
	veth string // the host's end
}

// String is the container as people call it.
func (c *container) String() string { return fmt.Sprintf("%s/%s (%s)", c.node.Name, c.id, c.link) }

func linkName(deviceIndex int) string { return fmt.Sprintf("eth%d", deviceIndex) }

// on returns the containers whose address is of the ENI.
func (n *node) on(link string) []*container {
	return slices.DeleteFunc(slices.Clone(n.containers), func(c *container) bool { return c.link != link })
}

// cnitool runs `cnitool VERB NETWORK /run/netns/ID` in a node. The plugins that it runs are of its process group, and end
// with ctx too.
func (n *node) cnitool(ctx context.Context, verb, network, id string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "/opt/cni/bin/cnitool", verb, network, "/run/netns/"+id)
	cmd.Dir, cmd.Env = "/", append(os.Environ(), n.Env()...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := n.Run(cmd); err != nil {
		return nil, fmt.Errorf("cnitool %s of %s/%s: %w: %s", verb, n.Name, id, err, lastLine(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// lastLine is what cnitool says of a failure behind its usage.
func lastLine(stderr string) string {
	text := strings.TrimSpace(stderr)
	return text[strings.LastIndex(text, "\n")+1:]
}

// add makes a container and adds it to the network.
func (d *demo) add(ctx context.Context, n *node, network, id string) (*container, error) {
	if _, err := n.AddNetns(id); err != nil {
		return nil, err
	}
	out, err := n.cnitool(ctx, "add", network, id)
	if err != nil {
		return nil, err
	}
	var result types100.Result
	if err := json.Unmarshal(out, &result); err != nil {
		return nil, fmt.Errorf("read the result of %s/%s: %w", n.Name, id, err)
	}
	c := &container{id: id, node: n, host: n.Container(id), ips: chain.IPs(&result)}
	for _, i := range result.Interfaces {
		if i.Sandbox == "" {
			c.veth = i.Name
		}
	}
	for _, ip := range c.ips {
		link := d.linkOf(n, ip)
		if link == "" || c.link != "" && c.link != link {
			return nil, fmt.Errorf("%s/%s got %s, which are no secondary addresses of one ENI of the node", n.Name, id, c.ips)
		}
		c.link = link
	}
	return c, nil
}

// linkOf is the link of the ENI of a node that has the address for containers.
func (d *demo) linkOf(n *node, ip netip.Addr) string {
	for _, e := range d.lab.VPC.ENIs(n.InstanceID) {
		within := func(p netip.Prefix) bool { return p.Contains(ip) }
		if slices.Contains(slices.Concat(e.Secondary, e.IPv6), ip) || slices.ContainsFunc(slices.Concat(e.Prefixes, e.Prefixes6), within) {
			return linkName(e.DeviceIndex)
		}
	}
	return ""
}

// giveIPv6 gives each ENI IPv6 for its containers, as who owns the VPC may: a prefix where the cloud has such, else addresses. A
// container gets its addresses of one ENI where it can, and the first ENI's prefix would do for all containers of a node.
func (d *demo) giveIPv6(context.Context) error {
	if !d.IPv6 {
		return nil
	}
	for _, n := range d.nodes {
		for _, e := range d.lab.VPC.ENIs(n.InstanceID) {
			if _, _, err := d.lab.VPC.AddIPv6(e.ID, d.addresses6, d.prefixes6); err != nil {
				return fmt.Errorf("give %s IPv6: %w", e.ID, err)
			}
		}
	}
	return nil
}

// addContainers adds containers to both nodes, until each ENI has some.
func (d *demo) addContainers(ctx context.Context) error {
	d.title("cnitool add: containers on each ENI of each node")
	began := time.Now()
	err := d.onEachNode(func(n *node) error {
		if err := n.InstallCNI(d.Bin, d.Conflist); err != nil {
			return err
		}
		var err error
		if n.before, err = n.look(); err != nil {
			return err
		}
		for i := range d.perNode {
			c, err := d.add(ctx, n, d.network.Name, fmt.Sprintf("c%d", i+1))
			if err != nil {
				return err
			}
			n.containers = append(n.containers, c)
		}
		return nil
	})
	if err != nil {
		return err
	}
	took := time.Since(began)
	for _, n := range d.nodes {
		for _, link := range n.links {
			if err := d.showENI(n, link); err != nil {
				return err
			}
		}
	}
	d.printf("\n  %d containers in %.1f s; %s was asked for addresses %d times\n",
		len(d.nodes)*d.perNode, took.Seconds(), d.api, d.lab.VPC.Calls("AssignPrivateIpAddresses")+d.lab.VPC.Calls("AssignIpv6Addresses"))
	return nil
}

func (d *demo) showENI(n *node, link string) error {
	on := n.on(link)
	if len(on) == 0 {
		return fmt.Errorf("%d containers did not reach %s of %s", d.perNode, link, n.Name)
	}
	for _, f := range d.walked() {
		var words []string
		for _, c := range on {
			words = append(words, fmt.Sprintf("%s %s", c.id, f.of(c.ips)))
		}
		d.printf("  %s %s  %s\n", n.Name, link, strings.Join(words, "  "))
	}
	return nil
}

// onEachNode does something on all nodes at once, and returns when it is done on each.
func (d *demo) onEachNode(do func(*node) error) error {
	errs := make([]error, len(d.nodes))
	var tasks sync.WaitGroup
	for i, n := range d.nodes {
		tasks.Go(func() { errs[i] = do(n) })
	}
	tasks.Wait()
	return errors.Join(errs...)
}

// checkContainers is CHECK of each container.
func (d *demo) checkContainers(ctx context.Context) error {
	d.title("cnitool check: each container is as it was made")
	return d.tellNodes(func(n *node) []string {
		var wrong []string
		for _, c := range n.containers {
			if _, err := n.cnitool(ctx, "check", d.network.Name, c.id); err != nil {
				wrong = append(wrong, err.Error())
			}
		}
		return wrong
	}, func(n *node) string { return fmt.Sprintf("%d containers checked", len(n.containers)) })
}

// deleteContainers is DEL of each container, and the comparison with what there was before.
func (d *demo) deleteContainers(ctx context.Context) error {
	d.title("cnitool del: nothing of them is left")
	return d.tellNodes(func(n *node) []string {
		var wrong []string
		for _, c := range n.containers {
			_, err := n.cnitool(ctx, "del", d.network.Name, c.id)
			if err := errors.Join(err, n.DelNetns(c.id)); err != nil {
				wrong = append(wrong, err.Error())
			}
		}
		left, err := d.left(ctx, n)
		if err != nil {
			wrong = append(wrong, err.Error())
		}
		return append(wrong, left...)
	}, func(n *node) string {
		return fmt.Sprintf("%d containers deleted; no link, route, rule or owner of theirs is left", len(n.containers))
	})
}

// tellNodes does something on each node that returns what was wrong, and prints it, or else what was right.
func (d *demo) tellNodes(do func(*node) []string, right func(*node) string) error {
	wrong := make([][]string, len(d.nodes))
	err := d.onEachNode(func(n *node) error {
		wrong[slices.Index(d.nodes, n)] = do(n)
		return nil
	})
	for i, n := range d.nodes {
		if len(wrong[i]) == 0 {
			d.printf("  %s  %s  %s\n", n.Name, right(n), d.good("ok"))
		}
		for _, w := range wrong[i] {
			d.fail(n.Name + "  " + w)
		}
	}
	return err
}

// fail prints and counts something beside the walks that is not as it should be.
func (d *demo) fail(what string) {
	d.tally.otherwise++
	d.printf("  %s  %s\n", strings.TrimSpace(what), d.bad("FAILED"))
}
