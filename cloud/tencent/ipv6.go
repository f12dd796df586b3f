package tencent

import (
	"context"
	"net/netip"

	"github.com/enichain/enichain/cloud"
)

// AssignIPv6 implements cloud.Driver.
func (d *Driver) AssignIPv6(context.Context, string, int) ([]netip.Addr, error) {
	return nil, &cloud.Error{Class: cloud.Unsupported, Message: "this driver gives no addresses of IPv6"}
}
