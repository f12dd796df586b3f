package drivertest

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/netstate/nstest"
)

// Proxied is a test of a driver with a proxy in its environment: the API is called through it, and the metadata service,
// at its own address, never is, for it would be told this machine's credentials and answer with its own.
type Proxied struct {
	Binary          string
	MetadataAddress string // where the service is in the cloud
	API, Metadata   http.Handler
	APIHost         string   // where the proxy is to find the API
	Env             []string // which says so
	Instance        string
}

// Run runs the driver in a namespace in which the metadata service and the proxy are all there is.
func (p Proxied) Run(t *testing.T) {
	t.Helper()
	const proxy = "203.0.113.7"
	ns := nstest.New(t)
	var proxied atomic.Int64
	ns.Do(func() error {
		if err := addToLoopback(p.MetadataAddress, proxy); err != nil {
			return err
		}
		for address, handler := range map[string]http.Handler{
			p.MetadataAddress + ":80": p.Metadata,
			proxy + ":3128": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				proxied.Add(1)
				if r.URL.Host != p.APIHost {
					t.Errorf("the proxy was asked for %s", r.URL)
				}
				p.API.ServeHTTP(w, r)
			}),
		} {
			l, err := net.Listen("tcp", address)
			if err != nil {
				return err
			}
			s := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler}}
			s.Start()
			t.Cleanup(s.Close)
		}
		env := append([]string{"HTTP_PROXY=http://" + proxy + ":3128", "http_proxy=http://" + proxy + ":3128"}, p.Env...)
		d := &cloud.Exec{Path: p.Binary, Env: env}
		if n, err := d.Node(t.Context()); err != nil || n.InstanceID != p.Instance {
			t.Errorf("node at the service's own address: %+v, error %v", n, err)
		}
		if _, err := d.ENIs(t.Context(), p.Instance); err != nil {
			t.Errorf("enis through the proxy: %v", err)
		}
		return nil
	})
	if proxied.Load() == 0 {
		t.Error("the API was not called through the proxy")
	}
}

func addToLoopback(addresses ...string) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	for _, address := range addresses {
		ip := &net.IPNet{IP: netip.MustParseAddr(address).AsSlice(), Mask: net.CIDRMask(32, 32)}
		if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: ip}); err != nil {
			return err
		}
	}
	return nil
}
