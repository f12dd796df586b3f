package snat

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/store"
)

// ErrUnknown says that neither the configuration nor the store tells a fact that is needed.
var ErrUnknown = errors.New("neither the configuration nor the store says it")

// Resolve returns the policy of a network in one family: what its configuration says, what it leaves out from the store, and
// the rest from the host's links. hosts are the interfaces without a sandbox in the prevResult. An error is ErrUnknown, one
// of the store's, or says what of the host does not fit the configuration.
func Resolve(ctx context.Context, h *netstate.Handle, c *netconf.SNAT, hosts []string, f family.Family) (Policy, error) {
	p := Policy{
		Network: c.Name, Family: f, Backend: c.Backend, NodePort: *c.NodePort, Forward: *c.Forward,
		Primary: c.Primary, Containers: c.ContainerInterfaces, Closed: len(c.ContainerInterfaces) > 0,
	}
	if f == family.IPv4 { // the addresses of IPv6 are public, so that nothing of it is translated
		p.SNAT, p.PrimaryIP, p.Include, p.Keep = *c.SNAT, c.PrimaryIP, c.IncludeCIDRs, c.ExcludeCIDRs
	}
	switch {
	case p.SNAT, p.NodePort:
	case p.Forward:
		return p, p.resolveContainers(h, hosts)
	default:
		return p, nil
	}
	if err := p.detect(ctx, h, c); err != nil {
		return p, err
	}
	// Where the destinations to translate are listed, the VPC is of no concern.
	needCIDRs := p.SNAT && len(c.IncludeCIDRs) == 0 && len(c.VPCCIDRs) == 0
	if p.SNAT && len(c.IncludeCIDRs) == 0 {
		p.Keep = slices.Concat(c.VPCCIDRs, c.ExcludeCIDRs)
	}
	if needCIDRs || p.Primary == "" {
		known, err := recall(ctx, c.DataDir)
		switch {
		case err == nil:
			err = p.fill(h, known, needCIDRs)
		case errors.Is(err, ErrUnknown) && !needCIDRs:
			err = p.take(h, c, nil, defaultRoutes(f)...)
		}
		if err != nil {
			return p, err
		}
	}
	if p.SNAT && !p.PrimaryIP.IsValid() {
		ip, err := ownAddress(h, p.Primary)
		if err != nil {
			return p, err
		}
		p.PrimaryIP = ip
	}
	return p, p.resolveContainers(h, hosts)
}

// known is what the store knows of the node.
type known struct {
	node    store.Node
	primary store.ENI
	others  []string // the MACs of its other ENIs
}

// recall reads the node and its primary ENI from the store.
func recall(ctx context.Context, dir string) (known, error) {
	var k known
	err := store.At(dir).View(ctx, func(tx *store.Tx) error {
		node, ok, err := tx.Node()
		if err != nil || !ok {
			return errors.Join(err, absent(ok, "node"))
		}
		eni, ok, err := tx.ENI(node.PrimaryENI)
		if err != nil || !ok {
			return errors.Join(err, absent(ok, "primary ENI "+node.PrimaryENI))
		}
		k = known{node: node, primary: eni}
		all, err := tx.ENIs()
		for _, e := range all {
			if e.ID != eni.ID && e.MAC != "" {
				k.others = append(k.others, e.MAC)
			}
		}
		return err
	})
	if errors.Is(err, store.ErrNoStore) {
		return k, fmt.Errorf("read the VPC's CIDRs and the primary ENI: no store in %s: %w", dir, ErrUnknown)
	}
	if err != nil {
		return k, fmt.Errorf("read the VPC's CIDRs and the primary ENI from %s: %w", dir, err)
	}
	return k, nil
}

func absent(ok bool, what string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("the store has no %s: %w", what, ErrUnknown)
}

// fill completes the policy with what the store knows.
func (p *Policy) fill(h *netstate.Handle, k known, needCIDRs bool) error {
	if needCIDRs {
		if len(k.node.VPCCIDRs) == 0 {
			return fmt.Errorf("the VPC's CIDRs: %w", ErrUnknown)
		}
		for _, cidr := range k.node.VPCCIDRs {
			if cidr.Addr().Is4() {
				p.Keep = append(p.Keep, cidr.Masked())
			}
		}
	}
	if p.Primary != "" {
		return nil
	}
	link, err := h.ENILink(k.primary)
	if err != nil {
		return fmt.Errorf("find the primary ENI %s: %w", k.primary.ID, err)
	}
	p.Primary = link.Name
	if p.SNAT && !p.PrimaryIP.IsValid() {
		p.PrimaryIP = k.primary.PrimaryIP
	}
	return nil
}

// resolveContainers fills in the containers' interfaces where the configuration does not list them.
func (p *Policy) resolveContainers(h *netstate.Handle, hosts []string) error {
	if p.Closed {
		return nil
	}
	patterns, err := Patterns(hosts, func(name string) (Link, error) { return describe(h, name) }, p.Primary)
	if err != nil {
		return fmt.Errorf("containers' interfaces: %w: %w", err, ErrUnknown)
	}
	if len(patterns) == 0 {
		return fmt.Errorf("containers' interfaces: prevResult lists none of the host: %w", ErrUnknown)
	}
	p.Containers = patterns
	return nil
}
