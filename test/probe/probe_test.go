package probe_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/test/probe"
)

func TestMain(m *testing.M) {
	// The main thread must not be one that a test throws away; TestMain runs on it.
	runtime.LockOSThread()
	os.Exit(m.Run())
}

const (
	patience = 5 * time.Second
	silence  = 300 * time.Millisecond
)

// namespace is a network namespace of a test. It ends with its file.
type namespace struct{ file *os.File }

// do runs fn on a thread of its own inside, and fails the test with its error.
func (n *namespace) do(t *testing.T, fn func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return fn(ctx)
	}); err != nil {
		t.Fatal(err)
	}
}

func onThread(fn func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		result <- fn()
	}()
	return <-result
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{}
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		for key, value := range map[string]string{
			"ip_forward": "0", "icmp_ratelimit": "0", "conf/all/rp_filter": "0", "conf/default/rp_filter": "0", "ip_default_ttl": "64",
		} {
			if err := os.WriteFile("/proc/sys/net/ipv4/"+key, []byte(value), 0o644); err != nil {
				return err
			}
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(lo); err != nil {
			return err
		}
		n.file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.file.Close() }) // only read from
	return n
}

// line is three namespaces in a row: near (10.0.1.2), a router (10.0.1.1, 10.0.2.1) and far (10.0.2.2).
func line(t *testing.T) (near, router, far *namespace) {
	t.Helper()
	near, router, far = newNamespace(t), newNamespace(t), newNamespace(t)
	router.do(t, func(context.Context) error {
		return errors.Join(
			os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644),
			cable("left", "10.0.1.1/24", near), cable("right", "10.0.2.1/24", far),
		)
	})
	near.do(t, func(context.Context) error { return configure("eth0", "10.0.1.2/24", "10.0.1.1") })
	far.do(t, func(context.Context) error { return configure("eth0", "10.0.2.2/24", "10.0.2.1") })
	return near, router, far
}

func cable(name, address string, to *namespace) error {
	veth := netlink.NewVeth(netlink.LinkAttrs{Name: name, TxQLen: -1})
	veth.PeerName, veth.PeerNamespace = "eth0", netlink.NsFd(to.file.Fd())
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	return configure(name, address, "")
}

func configure(name, address, gateway string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	// The first-up end of a veth pair loses what it sends for a moment after the other is up: ARP is to ask again soon.
	neigh := "/proc/sys/net/ipv4/neigh/" + name
	soon, often := os.WriteFile(neigh+"/retrans_time_ms", []byte("50"), 0o644), os.WriteFile(neigh+"/mcast_solicit", []byte("60"), 0o644)
	if err := errors.Join(soon, often, netlink.AddrAdd(link, addr), netlink.LinkSetUp(link)); err != nil || gateway == "" {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP(gateway)})
}

var ( // as constants would be
	nearIP   = netip.MustParseAddr("10.0.1.2")
	routerIP = netip.MustParseAddr("10.0.1.1")
	farIP    = netip.MustParseAddr("10.0.2.2")
)

func TestPingTellsTTLAndSender(t *testing.T) {
	near, _, _ := line(t)
	near.do(t, func(ctx context.Context) error {
		reply, err := probe.Ping(ctx, farIP, probe.From{Address: nearIP, Interface: "eth0"})
		if err != nil {
			return err
		}
		if reply.From != farIP || reply.TTL != 63 || reply.RTT <= 0 || reply.Sent < 1 {
			t.Errorf("%+v", reply)
		}
		return nil
	})
}

func TestPingFailsAsThingsAre(t *testing.T) {
	near, _, far := line(t)
	far.do(t, func(context.Context) error {
		return os.WriteFile("/proc/sys/net/ipv4/icmp_echo_ignore_all", []byte("1"), 0o644)
	})
	near.do(t, func(ctx context.Context) error {
		for dst, want := range map[string]string{
			"10.0.2.2": "no answer to", // deaf
			"10.0.1.9": "no answer to", // not there: ARP gets no answer
			"10.9.9.9": "10.0.1.1 answered ICMP type 3",
		} {
			limited, cancel := context.WithTimeout(ctx, silence)
			_, err := probe.Ping(limited, netip.MustParseAddr(dst), probe.From{})
			cancel()
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("ping %s: %v, want %q", dst, err, want)
			}
		}
		if _, err := probe.Ping(ctx, farIP, probe.From{Address: netip.MustParseAddr("10.5.5.5")}); err == nil {
			t.Error("a source that is not there: no error")
		}
		if _, err := probe.Ping(ctx, farIP, probe.From{Interface: "eth7"}); err == nil {
			t.Error("an interface that is not there: no error")
		}
		return nil
	})
}

func TestTracerouteNamesTheHops(t *testing.T) {
	near, _, _ := line(t)
	near.do(t, func(ctx context.Context) error {
		hops, err := probe.Traceroute(ctx, farIP, probe.From{}, 5)
		if err != nil {
			return err
		}
		var path []netip.Addr
		for n, h := range hops {
			if h.TTL != n+1 || h.RTT <= 0 {
				t.Errorf("hop %d: %+v", n+1, h)
			}
			path = append(path, h.From)
		}
		if diff := cmp.Diff([]netip.Addr{routerIP, farIP}, path, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if hops, err := probe.Traceroute(ctx, farIP, probe.From{}, 1); err == nil || len(hops) != 1 {
			t.Errorf("one hop is enough for %v, %v", hops, err)
		}
		return nil
	})
}

func TestServersTellTheCallersAddress(t *testing.T) {
	near, _, far := line(t)
	for name, by := range map[string]struct {
		serve func(context.Context, netip.AddrPort) (*probe.Server, error)
		call  func(context.Context, netip.AddrPort, probe.From, []byte) (probe.Seen, error)
	}{"TCP": {probe.ServeTCP, probe.CallTCP}, "UDP": {probe.ServeUDP, probe.CallUDP}} {
		var server *probe.Server
		far.do(t, func(context.Context) (err error) {
			server, err = by.serve(t.Context(), netip.AddrPortFrom(farIP, 0))
			return err
		})
		near.do(t, func(ctx context.Context) error {
			seen, err := by.call(ctx, server.Addr(), probe.From{Address: nearIP}, bytes.Repeat([]byte("x"), 5000))
			if err != nil {
				return err
			}
			if seen.Peer != seen.Local || seen.Peer.Addr() != nearIP {
				t.Errorf("%s: %+v", name, seen)
			}
			if peers := server.Peers(); len(peers) == 0 || peers[0] != seen.Local {
				t.Errorf("%s: the server knows %v", name, peers)
			}
			if err := server.Close(); err != nil {
				t.Error(err)
			}
			if _, err := by.call(ctx, server.Addr(), probe.From{}, nil); err == nil {
				t.Errorf("%s: a server that was closed answers", name)
			}
			return nil
		})
	}
}

// A process that starts while a server is closed must not keep the port.
func TestAClosedServersPortIsFree(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var starting sync.WaitGroup
	for range 4 {
		starting.Go(func() {
			for ctx.Err() == nil {
				_ = exec.Command("true").Run() // its fork is what matters
			}
		})
	}
	defer starting.Wait()
	defer cancel()
	_, _, far := line(t)
	far.do(t, func(ctx context.Context) error {
		for _, serve := range []func(context.Context, netip.AddrPort) (*probe.Server, error){probe.ServeTCP, probe.ServeUDP} {
			for range 200 {
				server, err := serve(ctx, netip.AddrPortFrom(farIP, 8080))
				if err != nil {
					return err
				}
				if err := server.Close(); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func TestCaptureSeesAllInterfacesBothWays(t *testing.T) {
	near, router, _ := line(t)
	var capture *probe.Capture
	router.do(t, func(context.Context) (err error) {
		capture, err = probe.StartCapture(func(p probe.Packet) bool { return p.Protocol == "icmp" }, 60)
		return err
	})
	near.do(t, func(ctx context.Context) error { _, err := probe.Ping(ctx, farIP, probe.From{}); return err })
	packets, err := capture.Stop()
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, p := range packets {
		seen = append(seen, p.Interface+" "+map[bool]string{true: "out", false: "in"}[p.Outgoing]+" "+p.Src.Addr().String())
		if age := time.Since(p.Time); age < 0 || age > patience || p.Length != 98 || len(p.Frame) != 60 {
			t.Errorf("captured %v ago, length %d, %d bytes kept: %s", age, p.Length, len(p.Frame), p)
		}
	}
	want := []string{"left in 10.0.1.2", "right out 10.0.1.2", "right in 10.0.2.2", "left out 10.0.2.2"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if again, err := capture.Stop(); err != nil || len(again) != len(packets) {
		t.Errorf("the second Stop: %d packets, %v", len(again), err)
	}
}

func TestCaptureSeesInterfacesThatComeLater(t *testing.T) {
	n, other := newNamespace(t), newNamespace(t)
	var capture *probe.Capture
	n.do(t, func(ctx context.Context) (err error) {
		if capture, err = probe.StartCapture(nil, 0); err != nil {
			return err
		}
		if err := cable("late", "10.0.3.1/24", other); err != nil {
			return err
		}
		short, cancel := context.WithTimeout(ctx, silence) // nobody answers; the question is what is to be seen
		defer cancel()
		_, _ = probe.Ping(short, netip.MustParseAddr("10.0.3.2"), probe.From{})
		return nil
	})
	other.do(t, func(context.Context) error { return configure("eth0", "10.0.3.2/24", "") })
	n.do(t, func(ctx context.Context) error {
		if _, err := probe.Ping(ctx, netip.MustParseAddr("10.0.3.2"), probe.From{}); err != nil {
			return err
		}
		p, err := capture.Wait(ctx, func(p probe.Packet) bool { return p.ICMPType == probe.EchoReply && p.Protocol == "icmp" })
		if err == nil && p.Interface != "late" {
			t.Errorf("seen on %s", p.Interface)
		}
		return err
	})
	if _, err := capture.Stop(); err != nil {
		t.Error(err)
	}
}

func TestWaitEnds(t *testing.T) {
	n := newNamespace(t)
	n.do(t, func(ctx context.Context) error {
		capture, err := probe.StartCapture(nil, 0)
		if err != nil {
			return err
		}
		never := func(probe.Packet) bool { return false }
		short, cancel := context.WithTimeout(ctx, silence/10)
		defer cancel()
		if _, err := capture.Wait(short, never); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("at the deadline: %v", err)
		}
		stopped := make(chan error, 1)
		go func() { _, err := capture.Stop(); stopped <- err }()
		if _, err := capture.Wait(ctx, never); err == nil || ctx.Err() != nil {
			t.Errorf("at the capture's end: %v", err)
		}
		return <-stopped
	})
}

func TestPcapFile(t *testing.T) {
	var file bytes.Buffer
	w, err := probe.NewPcapWriter(&file)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_700_000_000, 123_456_789)
	if err := w.Write(probe.Packet{Time: at, Length: 1500, Frame: []byte("frame")}); err != nil {
		t.Fatal(err)
	}
	b := file.Bytes()
	if len(b) != 24+16+5 || !bytes.HasSuffix(b, []byte("frame")) {
		t.Fatalf("%d bytes: %q", len(b), b)
	}
	var got []uint32
	for at := 24; at < 40; at += 4 {
		got = append(got, binary.LittleEndian.Uint32(b[at:]))
	}
	if diff := cmp.Diff([]uint32{1_700_000_000, 123_456_789, 5, 1500}, got); diff != "" {
		t.Errorf("the record's header (-want +got):\n%s", diff)
	}
}

func TestRoundTrips(t *testing.T) {
	n := newNamespace(t)
	home := netip.MustParseAddr("127.0.0.1")
	n.do(t, func(context.Context) error {
		times, err := probe.RoundTrips(home, 10)
		if len(times) != 10 || slices.Min(times) <= 0 {
			t.Errorf("10 round trips took %v", times)
		}
		return err
	})
	n.do(t, func(context.Context) error {
		if err := os.WriteFile("/proc/sys/net/ipv4/icmp_echo_ignore_all", []byte("1"), 0o644); err != nil {
			return err
		}
		if times, err := probe.RoundTrips(home, 10); err == nil || len(times) > 0 {
			t.Errorf("nobody answers, and it took %v: %v", times, err)
		}
		return nil
	})
}
