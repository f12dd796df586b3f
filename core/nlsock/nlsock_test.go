package nlsock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/netstate/nstest"
)

// rule is a message about a policy rule of IPv4 (struct fib_rule_hdr, and FRA_PRIORITY) whose action is to look into main.
func rule(kind, flags uint16, pref uint32) Request {
	hdr := Body{unix.AF_INET, 0, 0, 0, unix.RT_TABLE_MAIN, 0, 0, 1, 0, 0, 0, 0}
	return Request{Kind: kind, Flags: flags, Body: hdr.Uint32(unix.FRA_PRIORITY, pref)}
}

func add(pref uint32) Request { return rule(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, pref) }

func loopback(name string) Request {
	return Request{Kind: unix.RTM_GETLINK, Replies: true, Body: make(Body, unix.SizeofIfInfomsg).Text(unix.IFLA_IFNAME, name)}
}

// in runs f with a connection to a new namespace.
func in(t *testing.T, f func(c *Conn) error) {
	t.Helper()
	nstest.New(t).Do(func() error {
		c, err := Dial(unix.NETLINK_ROUTE, unix.RTMGRP_LINK)
		if err != nil {
			return err
		}
		defer c.Close()
		return f(c)
	})
}

// Each request has its own answer, whatever became of the others, also where there are more of them than one send takes.
func TestExchange(t *testing.T) {
	in(t, func(c *Conn) error {
		for name, requests := range map[string][]Request{
			"mixed":         {add(10), add(10), loopback("lo"), loopback("none"), add(11)},
			"refused last":  {add(12), add(12)},
			"asked last":    {add(13), loopback("lo")},
			"refused alone": {loopback("none")},
			"none":          {},
		} {
			answers, err := c.Exchange(requests...)
			if err != nil || len(answers) != len(requests) {
				return fmt.Errorf("%s: %d answers, %w", name, len(answers), err)
			}
			seen := map[string]bool{}
			for i, r := range requests {
				a, key := answers[i], string(r.Body)
				var want error
				switch {
				case bytes.Contains(r.Body, []byte("none")):
					want = unix.ENODEV
				case seen[key]:
					want = unix.EEXIST
				}
				if !errors.Is(a.Err, want) || r.Replies != (a.Body != nil) && want == nil {
					t.Errorf("%s: request %d has the answer %q, %v, want %v", name, i, a.Body, a.Err, want)
				}
				seen[key] = true
			}
		}
		many := make([]Request, 3*atOnce+1)
		for i := range many {
			many[i] = add(uint32(100 + i/2)) // each twice
		}
		answers, err := c.Exchange(many...)
		for i, a := range answers {
			if errors.Is(a.Err, unix.EEXIST) != (i%2 == 1) {
				t.Errorf("request %d of many has the answer %v", i, a.Err)
			}
		}
		return err
	})
}

// A dump has all, however many messages that takes, and leaves nothing for the next exchange; what the caller fails with is its error.
func TestDump(t *testing.T) {
	in(t, func(c *Conn) error {
		const n = 3000
		for pref := range uint32(n) {
			if _, err := c.Do(add(pref + 1)); err != nil {
				return err
			}
		}
		list := rule(unix.RTM_GETRULE, 0, 0)
		list.Body = make(Body, unix.SizeofRtMsg)
		list.Body[0] = unix.AF_INET
		seen := 0
		if err := c.Dump(list, func([]byte) error { seen++; return nil }); err != nil || seen != n+3 { // those of the kernel
			t.Errorf("the dump has %d rules, error %v", seen, err)
		}
		mine := errors.New("mine")
		if err := c.Dump(list, func([]byte) error { return mine }); !errors.Is(err, mine) {
			t.Errorf("a caller that fails gets %v", err)
		}
		if err := c.Dump(rule(unix.RTM_GETRULE, 0, 1), func([]byte) error { return nil }); !errors.Is(err, unix.EINVAL) {
			t.Errorf("a dump that the kernel refuses gives %v", err)
		}
		body, err := c.Do(loopback("lo"))
		if err == nil && !bytes.Contains(body, []byte("lo\x00")) {
			t.Errorf("after the dumps lo is %q", body)
		}
		return err
	})
}

// A socket that had no room for its answers is as good as new for the next exchange.
func TestNoRoom(t *testing.T) {
	in(t, func(c *Conn) error {
		if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096); err != nil {
			return err
		}
		many := make([]Request, atOnce)
		for i := range many {
			many[i] = loopback("none")
		}
		if _, err := c.Exchange(many...); err == nil {
			t.Error("there was room for all: this test shows nothing")
		}
		if _, err := c.Do(add(7)); err != nil {
			t.Errorf("the next request: %v", err)
		}
		if _, err := c.Do(add(7)); !errors.Is(err, unix.EEXIST) {
			t.Errorf("the same again: %v", err)
		}
		return nil
	})
}

// Who may not is told so, though nfnetlink answers only the first of what was sent.
func TestForbidden(t *testing.T) {
	nstest.New(t).Do(func() error { // whose thread ends with it
		c, err := Dial(unix.NETLINK_NETFILTER, 0)
		if err != nil {
			return err
		}
		defer c.Close()
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			return err
		}
		ask := Request{Kind: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Replies: true, Body: make(Body, 4)}
		if _, err := c.Exchange(ask, ask); !errors.Is(err, unix.EPERM) {
			t.Errorf("asked twice: %v", err)
		}
		return nil
	})
}

// The kernel's words are in the error.
func TestErrorWords(t *testing.T) {
	in(t, func(c *Conn) error {
		broken := add(1)
		broken.Body[1] = 33 // of IPv4's 32 bits
		_, err := c.Do(broken)
		var refusal *Error
		if !errors.As(err, &refusal) || !errors.Is(err, unix.EINVAL) || refusal.Words == "" {
			t.Errorf("the refusal is %v", err)
		}
		return nil
	})
}

// News is waited for until the deadline, and what is not wanted is none.
func TestAwait(t *testing.T) {
	in(t, func(c *Conn) error {
		if heard, err := c.Await(time.Now().Add(10*time.Millisecond), func([]byte) bool { return true }); heard || err != nil {
			t.Errorf("without news: %v, %v", heard, err)
		}
		other, err := Dial(unix.NETLINK_ROUTE, 0)
		if err != nil {
			return err
		}
		defer other.Close()
		mtu := func(n uint32) error {
			body := make(Body, unix.SizeofIfInfomsg)
			binary.NativeEndian.PutUint32(body[4:], 1) // lo
			_, err := other.Do(Request{Kind: unix.RTM_SETLINK, Body: body.Uint32(unix.IFLA_MTU, n)})
			return err
		}
		if err := errors.Join(mtu(1400), mtu(1401)); err != nil {
			return err
		}
		wanted := binary.NativeEndian.AppendUint32(nil, 1401)
		is1401 := func(body []byte) bool { return bytes.Contains(body, wanted) }
		if heard, err := c.Await(time.Now().Add(time.Minute), is1401); !heard || err != nil {
			t.Errorf("of what is wanted: %v, %v", heard, err)
		}
		if heard, err := c.Await(time.Now().Add(10*time.Millisecond), is1401); heard || err != nil {
			t.Errorf("a second time: %v, %v", heard, err)
		}
		return nil
	})
}

// Whatever comes is taken apart without a crash, and into no more than there was.
func FuzzSplit(f *testing.F) {
	f.Add([]byte{})
	f.Add(loopback("lo").appendTo(nil, 0, 7))
	f.Add(append(add(1).appendTo(nil, 0, 1), add(2).appendTo(nil, 0, 2)...))
	refusal := binary.NativeEndian.AppendUint32(nil, uint32(0xffffffff)) // -EPERM
	refusal = append(refusal, make([]byte, unix.SizeofNlMsghdr)...)
	f.Add(Request{Kind: unix.NLMSG_ERROR, Flags: unix.NLM_F_CAPPED | unix.NLM_F_ACK_TLVS, Body: Body(refusal).Text(unix.NLMSGERR_ATTR_MSG, "words")}.appendTo(nil, 0, 1))
	f.Add(Request{Kind: unix.NLMSG_ERROR, Body: refusal[:3]}.appendTo(nil, 0, 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		messages, err := split(data)
		total := 0
		for _, m := range messages {
			total += unix.SizeofNlMsghdr + len(m.body)
			_ = m.verdict()
		}
		if total > len(data) {
			t.Errorf("%v gave %d octets, %v", data, total, err)
		}
	})
}
