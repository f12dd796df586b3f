package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/supply"
)

// timeout bounds what a command does by the time that an ADD has.
func (t *tool) timeout(net *network) (context.Context, context.CancelFunc) {
	limit := time.Duration(net.ipam.Timeout)
	return context.WithTimeoutCause(t.ctx, limit, fmt.Errorf(`the "timeout" of %v is over`, limit))
}

// driver returns what finds the network's driver.
func (t *tool) driver(net *network) func() (cloud.Driver, error) { return t.through(&witness{}, net) }

// through returns what finds the network's driver, behind a witness that tells a terminal what is asked of it.
func (t *tool) through(w *witness, net *network) func() (cloud.Driver, error) {
	w.doing = t.doing
	if net.ipam.Cloud == netconf.StaticCloud { // which answers out of the conflist
		w.doing = func(string, ...any) {}
	}
	find := supply.Driver(net.ipam, t.where.cniPath)
	return func() (cloud.Driver, error) {
		var err error
		w.driver, err = find()
		return w, err
	}
}

// supply returns the network's pool.
func (t *tool) supply(net *network) *supply.Supply {
	return supply.New(net.ipam, t.driver(net), slog.New(slog.DiscardHandler))
}
