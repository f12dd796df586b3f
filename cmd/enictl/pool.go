package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/supply"
)

// timeout bounds what a command does by the time that an ADD has.
func (t *tool) timeout(net *network) (context.Context, context.CancelFunc) {
	limit := time.Duration(net.ipam.Timeout)
	return context.WithTimeoutCause(t.ctx, limit, fmt.Errorf(`the "timeout" of %v is over`, limit))
}

// driver returns what finds the network's driver.
func (t *tool) driver(net *network) func() (cloud.Driver, error) {
	return supply.Driver(net.ipam, t.where.cniPath)
}

// supply returns the network's pool.
func (t *tool) supply(net *network) *supply.Supply {
	return supply.New(net.ipam, t.driver(net), slog.New(slog.DiscardHandler))
}
