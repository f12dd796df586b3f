package nfnetlink_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/nfnetlink"
)

// about is a message about a table.
func about(kind uint16, flags netlink.HeaderFlags, name string) nfnetlink.Message {
	return nfnetlink.Table(kind, flags, unix.NFPROTO_IPV4, name)
}

// All of a batch is carried out or none, and the error is the one of what was refused, wherever that stands.
func TestCommit(t *testing.T) {
	ctx := t.Context()
	make1, remove1 := about(unix.NFT_MSG_NEWTABLE, netlink.Create, "one"), about(unix.NFT_MSG_DELTABLE, 0, "one")
	refused := about(unix.NFT_MSG_DELTABLE, 0, "none")
	has := func() error {
		answers, err := nfnetlink.Ask(ctx, about(unix.NFT_MSG_GETTABLE, 0, "one"))
		if err == nil && (len(answers) != 1 || string(answers[0][unix.NFTA_TABLE_NAME]) != "one\x00") {
			t.Errorf("the kernel answers %v", answers)
		}
		return err
	}
	nstest.New(t).Do(func() error {
		for _, batch := range [][]nfnetlink.Message{{make1, refused}, {refused, make1}, {make1, refused, remove1}} {
			if err := nfnetlink.Commit(ctx, batch...); !errors.Is(err, unix.ENOENT) {
				t.Errorf("a batch with what cannot be done gave %v", err)
			}
			if err := has(); !errors.Is(err, unix.ENOENT) {
				t.Errorf("a part of it was done: %v", err)
			}
		}
		return errors.Join(nfnetlink.Commit(ctx, make1, make1), has(), nfnetlink.Commit(ctx, remove1))
	})
}

// A context that is over ends an exchange, and one without an end is bounded.
func TestDeadline(t *testing.T) {
	over, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := nfnetlink.Ask(over, about(unix.NFT_MSG_GETTABLE, 0, "one")); err == nil {
		t.Error("an exchange went on after its context's end")
	}
	if left := time.Until(nfnetlink.Deadline(t.Context())); left <= 0 || left > time.Minute {
		t.Errorf("an exchange without an end has %v", left)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{8, 0, 1, 0, 1, 2, 3, 4})
	f.Add([]byte{3, 0, 1, 0})
	f.Add([]byte{255, 255, 1, 128, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := nfnetlink.Decode(data)
		for kind, v := range all {
			if kind&(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) != 0 || len(v) > len(data) {
				t.Errorf("%v gave %d of kind %#x, %v", data, v, kind, err)
			}
		}
	})
}
