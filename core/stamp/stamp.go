// Package stamp tells whether nftables is still in the state in which something was found in place. The kernel numbers the
// states of all tables of a network namespace (NFT_MSG_GETGEN, net/netfilter/nf_tables_api.c), so that none need be read.
package stamp

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/about"
	"github.com/enichain/enichain/core/nfnetlink"
	"github.com/enichain/enichain/core/plainfile"
	"github.com/enichain/enichain/core/store"
)

// Table is a table of nftables.
type Table struct {
	Family uint8 // NFPROTO_…
	Name   string
}

// Of names the facts on which something depends, the code that put it in place, the state of nftables in the calling thread's network
// namespace, and which of the tables are there: the numbers begin anew where the kernel's module was unloaded meanwhile. It is ""
// where the kernel does not tell one namespace from another (before Linux 5.14).
func Of(facts string, tables ...Table) (string, error) {
	state, err := stateOf(tables)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("ask for the number of nftables' state: %w", err)
	}
	bootID, err := store.BootID()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s %x", bootID, state, sha256.Sum256([]byte(about.Version+" "+facts))), nil
}

func stateOf(tables []Table) (string, error) {
	conn, err := nfnetlink.Dial()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	cookie, err := conn.Cookie()
	if err != nil {
		return "", err
	}
	questions := []nfnetlink.Message{{Kind: unix.NFT_MSG_GETGEN}}
	for _, t := range tables {
		questions = append(questions, nfnetlink.Table(unix.NFT_MSG_GETTABLE, 0, t.Family, t.Name))
	}
	answers, err := nfnetlink.AskAll(conn, questions...)
	if err != nil {
		return "", err
	}
	there := make([]bool, len(tables))
	for i, a := range answers[1:] {
		if there[i] = a.Err == nil; a.Err != nil && !errors.Is(a.Err, unix.ENOENT) {
			return "", a.Err
		}
	}
	if answers[0].Err != nil {
		return "", answers[0].Err
	}
	number := answers[0].Attributes[unix.NFTA_GEN_ID]
	if len(number) != 4 {
		return "", errors.New("the kernel's answer has no number")
	}
	return fmt.Sprintf("%d/%d/%v", cookie, binary.BigEndian.Uint32(number), there), nil
}

// File keeps a stamp.
type File string

// In is the file of a name in a folder.
func In(dir, name string) File { return File(filepath.Join(dir, name)) }

// Read returns the stamp; "" where there is none.
func (f File) Read() string {
	text, err := plainfile.Read(string(f))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(text), "\n")
}

// Write keeps a stamp for the next call. Where it cannot be kept, that one looks for itself; so it does where only a part was
// written, which is no stamp.
func (f File) Write(stamp string) { _ = os.WriteFile(string(f), []byte(stamp+"\n"), 0o600) }
