package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

const nodePort, servicePort = 30080, 8080

// nodePortRule makes what kube-proxy makes of a NodePort service with one endpoint: DNAT before routing, for an address of
// the node. With externalTrafficPolicy Local, there is no masquerading.
func nodePortRule(t *testing.T, n *lab.Node, to netip.Addr) {
	t.Helper()
	err := n.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		family := nftables.TableFamilyIPv4
		if to.Is6() {
			family = nftables.TableFamilyIPv6
		}
		table := c.AddTable(&nftables.Table{Family: family, Name: "kube-proxy"})
		chain := c.AddChain(&nftables.Chain{
			Name: "nat-prerouting", Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest,
		})
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
			&expr.Cmp{Register: 1, Op: expr.CmpOpEq, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Register: 1, Op: expr.CmpOpEq, Data: []byte{unix.IPPROTO_TCP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Cmp{Register: 1, Op: expr.CmpOpEq, Data: binaryutil.BigEndian.PutUint16(nodePort)},
			&expr.Immediate{Register: 1, Data: to.AsSlice()},
			&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(servicePort)},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(family), RegAddrMin: 1, RegProtoMin: 2},
		}})
		return c.Flush()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// NodePort: it enters by the primary ENI, goes to a container on a secondary one, and is answered by the primary; with
// SNAT switched on and off.
func TestNodePort(t *testing.T) { onBackends(t, nodePortAnswers) }

func nodePortAnswers(t *testing.T, cloud string, b backend) {
	for name, options := range map[string]string{"SNAT on": "", "SNAT off": `, "snat": false`} {
		t.Run(name, func(t *testing.T) {
			r := upRecipe(t, cloud, fmt.Sprintf(whole, "", b.conf+options), b)
			s := serve(t, r.c1, r.p1, servicePort)
			nodePortRule(t, r.node, r.p1)
			to := netip.AddrPortFrom(node1Primary, nodePort)
			for from, ip := range map[*lab.Host]netip.Addr{&r.Nodes[1].Host: node2Primary, r.Internet: internet} {
				capture := startCapture(t, &r.node.Host)
				peer, err := call(t, from, to)
				if err != nil {
					t.Errorf("%s calls the NodePort: %v", from.Name, err)
				}
				if peer != ip {
					t.Errorf("%s is seen as %s, want %s", from.Name, peer, ip)
				}
				seen := devices(t, capture, func(p probe.Packet) bool { return p.Src.Addr() == ip || p.Dst.Addr() == ip })
				if !strings.HasPrefix(seen, "eth0 pod") || strings.Contains(seen, "eth1") {
					t.Errorf("%s: the connection was on %q, want eth0 and the container's veth", from.Name, seen)
				}
			}
			if len(s.Peers()) != 2 {
				t.Errorf("the container saw %v", s.Peers())
			}
		})
	}
}

// With the return path switched off a NodePort's answer leaves by the wrong ENI: the feature is what makes it work.
func TestNodePortSwitchedOff(t *testing.T) { onBackends(t, nodePortSwitchedOff) }

func nodePortSwitchedOff(t *testing.T, cloud string, b backend) {
	r := upRecipe(t, cloud, fmt.Sprintf(whole, "", b.conf+`, "nodePort": false`), b)
	serve(t, r.c1, r.p1, servicePort)
	nodePortRule(t, r.node, r.p1)
	if _, err := call(t, r.Internet, netip.AddrPortFrom(node1Primary, nodePort)); err == nil {
		t.Error("the internet reached the NodePort without the return path")
	}
}
