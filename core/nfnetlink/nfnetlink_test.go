package nfnetlink_test

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/netstate/nstest"
	"github.com/enichain/enichain/core/nfnetlink"
)

// about is a message about a table.
func about(kind uint16, flags uint16, name string) nfnetlink.Message {
	return nfnetlink.Table(kind, flags, unix.NFPROTO_IPV4, name)
}

// All of a batch is carried out or none, and the error is the one of what was refused, wherever that stands.
func TestCommit(t *testing.T) {
	ctx := t.Context()
	make1, remove1 := about(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, "one"), about(unix.NFT_MSG_DELTABLE, 0, "one")
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

// A context that is over lets nothing begin.
func TestContext(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := nfnetlink.Ask(over, about(unix.NFT_MSG_GETTABLE, 0, "one")); !errors.Is(err, context.Canceled) {
		t.Errorf("Ask: %v", err)
	}
	if err := nfnetlink.Commit(over, about(unix.NFT_MSG_NEWTABLE, 0, "one")); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit: %v", err)
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
