package tencent_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/cloud"
)

// The API goes through the environment's proxy, the metadata service never does. That is found without a resolver.
func TestProxyIsForTheAPIOnly(t *testing.T) {
	path := buildDriver(t)
	done := make(chan struct{})
	go func() { // the thread stays locked, and so ends with the goroutine and takes its namespace along
		defer close(done)
		runtime.LockOSThread()
		proxyTest(t, path)
	}()
	<-done
}

func proxyTest(t *testing.T, path string) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Errorf("new network namespace: %v", err)
		return
	}
	for _, address := range []string{"127.0.0.1/8", "169.254.0.23/32", "203.0.113.7/32"} {
		if err := addToLoopback(address); err != nil {
			t.Errorf("add %s to lo: %v", address, err)
			return
		}
	}
	v, i := newVPC(t, "S5.MEDIUM4")
	var proxied atomic.Int64
	proxy := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxied.Add(1)
		if r.URL.Host != "vpc.example" {
			t.Errorf("the proxy was asked for %s", r.URL)
		}
		v.Tencent().ServeHTTP(w, r)
	})
	for address, handler := range map[string]http.Handler{
		"169.254.0.23:80": v.TencentMetadataFor(i.ID), "203.0.113.7:3128": proxy,
	} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		s := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler}}
		s.Start()
		defer s.Close()
	}
	d := &cloud.Exec{Path: path, Env: []string{
		"HTTP_PROXY=http://203.0.113.7:3128", "http_proxy=http://203.0.113.7:3128",
		"TENCENTCLOUD_VPC_ENDPOINT=http://vpc.example",
	}}
	if n, err := d.Node(t.Context()); err != nil || n.InstanceID != i.ID {
		t.Errorf("node at the service's own address: %+v, error %v", n, err)
	}
	if _, err := d.ENIs(t.Context(), i.ID); err != nil {
		t.Errorf("enis through the proxy: %v", err)
	}
	if proxied.Load() == 0 {
		t.Error("the API was not called through the proxy")
	}
}

func addToLoopback(address string) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	prefix := netip.MustParsePrefix(address)
	err = netlink.AddrAdd(lo, &netlink.Addr{IPNet: &net.IPNet{
		IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), 32),
	}})
	if errors.Is(err, unix.EEXIST) { // 127.0.0.1 comes with lo
		return nil
	}
	return err
}
