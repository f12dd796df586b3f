package snat

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/about"
	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/nfnetlink"
	"github.com/enichain/enichain/core/plainfile"
	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/core/xtables"
)

// Ensure is Apply for a network whose policy is nearly always in place. The kernel numbers the states of all its nftables tables
// (NFT_MSG_GETGEN, net/netfilter/nf_tables_api.c): where it is still in the one in which Apply found the policy in place, which a
// file in the folder says, none of them is read. What is not nftables' is looked at each time. Without the folder, or a kernel
// that tells its namespaces apart (Linux 5.14), it is Apply.
func Ensure(ctx context.Context, h *netstate.Handle, p Policy, dir string) (changed bool, err error) {
	if p.Backend == netconf.IPTables {
		return Apply(ctx, h, p)
	}
	now, err := stampOf(ctx, p)
	if err != nil {
		return false, fmt.Errorf("ask for the number of nftables' state: %w", err)
	}
	file := filepath.Join(dir, p.stampFile())
	known := now != "" && readStamp(file) == now
	if known {
		if known, err = p.aloneInNFTables(); err != nil {
			return false, err
		}
	}
	if known {
		return false, h.Apply(p.State())
	}
	changed, err = Apply(ctx, h, p)
	if err == nil && !changed && now != "" {
		writeStamp(file, now)
	}
	return changed, err
}

// aloneInNFTables says whether Apply would have nothing to do but for nftables: neither chains of the legacy iptables to remove,
// nor rules to add to a filter of its that drops what it forwards.
func (p Policy) aloneInNFTables() (bool, error) {
	holds, err := xtables.Legacy.Holds(p.Family, "mangle", chainNamesOf(p.Network, p.Family).enter)
	if err != nil || holds || !p.Forward {
		return !holds, err
	}
	drops, err := xtables.LegacyDrops(p.Family, filter)
	return !drops, err
}

// stampFile is the name of the file that has the policy's stamp.
func (p Policy) stampFile() string {
	return fmt.Sprintf("snat-%s-%s", string(p.Family), shorten(p.Network, readable))
}

// stampOf names the policy, the code that carries it out, and the state of nftables; "" where the kernel does not tell one network
// namespace from another.
func stampOf(ctx context.Context, p Policy) (string, error) {
	state, err := stateOfNFTables(ctx, p)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	bootID, err := store.BootID()
	if err != nil {
		return "", err
	}
	type fields Policy // without its words
	hash := sha256.New()
	_, _ = fmt.Fprintf(hash, "%s %+v", about.Version, fields(p))
	return fmt.Sprintf("%s %s %x", bootID, state, hash.Sum(nil)), nil
}

// stateOfNFTables names the state of the tables in the calling thread's network namespace, and the namespace; and says whether the
// policy's table is there: the numbers begin anew where the kernel's module was unloaded meanwhile.
func stateOfNFTables(ctx context.Context, p Policy) (string, error) {
	conn, err := nfnetlink.Dial(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	cookie, err := namespaceCookie(conn)
	if err != nil {
		return "", err
	}
	_, err = nfnetlink.AskBy(conn, nfnetlink.Table(unix.NFT_MSG_GETTABLE, 0, uint8(tableOf(p.Family).Family), Table))
	there := err == nil
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return "", err
	}
	answers, err := nfnetlink.AskBy(conn, nfnetlink.Message{Kind: unix.NFT_MSG_GETGEN})
	if err != nil {
		return "", err
	}
	for _, a := range answers {
		if number := a[unix.NFTA_GEN_ID]; len(number) == 4 {
			return fmt.Sprintf("%d/%d/%v", cookie, binary.BigEndian.Uint32(number), there), nil
		}
	}
	return "", errors.New("the kernel's answer has no number")
}

// namespaceCookie is the number of a socket's network namespace, which no other has or had since the machine was started.
func namespaceCookie(conn *netlink.Conn) (cookie uint64, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(fd uintptr) { cookie, err = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_NETNS_COOKIE) })
	return cookie, errors.Join(failed, err)
}

// readStamp returns the stamp in a file; "" where there is none.
func readStamp(file string) string {
	text, err := plainfile.Read(file)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(text), "\n")
}

// writeStamp keeps a stamp for the next call. Where it cannot be kept, that one reads the tables; so it does where only a part
// was written, which is no stamp.
func writeStamp(file, stamp string) { _ = os.WriteFile(file, []byte(stamp+"\n"), 0o600) }
