package snat

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/netstate"
	"github.com/enichain/enichain/core/netstate/nstest"
)

func ensure(t *testing.T, h *netstate.Handle, p Policy, dir string) bool {
	t.Helper()
	changed, err := Ensure(t.Context(), h, p, dir)
	if err != nil {
		t.Fatalf("ensure: %v", err)
	}
	return changed
}

// stamped puts the policy in place, and returns a folder with its stamp.
func stamped(t *testing.T, h *netstate.Handle, p Policy) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if !ensure(t, h, p, dir) {
		t.Error("the first ensure changed nothing")
	}
	if ensure(t, h, p, dir) {
		t.Error("the second ensure changed something")
	}
	if !holds(t, p, dir) {
		t.Fatalf("the second ensure left the stamp %q", p.stampIn(dir).Read())
	}
	return dir
}

// holds says whether the folder's stamp is that of the policy, now and here.
func holds(t *testing.T, p Policy, dir string) bool {
	t.Helper()
	now, err := stampOf(p)
	if err != nil || now == "" {
		t.Fatalf("the stamp of %s is %q, %v", p, now, err)
	}
	return p.stampIn(dir).Read() == now
}

// TestStampIsOfOnePolicy changes each field of a policy that was in place: what differs is written, whatever the stamp says.
func TestStampIsOfOnePolicy(t *testing.T) {
	for name, change := range map[string]func(*Policy){
		"network":    func(p *Policy) { p.Network = "other" },
		"SNAT":       func(p *Policy) { p.SNAT = false },
		"NodePort":   func(p *Policy) { p.NodePort = false },
		"primary":    func(p *Policy) { p.Primary = "eth7" },
		"address":    func(p *Policy) { p.PrimaryIP = p.PrimaryIP.Next() },
		"include":    func(p *Policy) { p.Include, p.Keep = p.Keep, nil },
		"keep":       func(p *Policy) { p.Keep = p.Keep[:1] },
		"containers": func(p *Policy) { p.Containers = append(p.Containers, "tap*") },
		"backend":    func(p *Policy) { p.Backend = netconf.IPTables },
	} {
		t.Run(name, func(t *testing.T) {
			inside(t, nstest.New(t), func(h *netstate.Handle) {
				dir := stamped(t, h, podnet())
				p := podnet()
				change(&p)
				if !ensure(t, h, p, dir) {
					t.Error("ensure of another policy changed nothing")
				}
				if d := check(t, h, p); d != "" {
					t.Errorf("check says %q", d)
				}
			})
		})
	}
}

// TestStampOfAListThatBecomesClosed shows that what the table has beyond the list goes, though all of the list is there.
func TestStampOfAListThatBecomesClosed(t *testing.T) {
	inside(t, nstest.New(t), func(h *netstate.Handle) {
		wider, p := podnet(), podnet()
		wider.Containers = append(wider.Containers, "tap*")
		dir := stamped(t, h, wider)
		ensure(t, h, p, dir) // which finds what it wants
		if !holds(t, p, dir) {
			t.Fatal("a policy that was in place has no stamp")
		}
		p.Closed = true
		if !ensure(t, h, p, dir) || strings.Contains(list(t), "tap") {
			t.Errorf("the closed list left\n%s", list(t))
		}
	})
}

// TestStampIsOfOneNamespace has two hosts' files in one folder, as a store that is copied or shared might.
func TestStampIsOfOneNamespace(t *testing.T) {
	var dir string
	inside(t, nstest.New(t), func(h *netstate.Handle) { dir = stamped(t, h, podnet()) })
	inside(t, nstest.New(t), func(h *netstate.Handle) {
		if !ensure(t, h, podnet(), dir) {
			t.Error("another namespace's stamp was believed")
		}
	})
}

// TestEnsureSeesWhatIsNotNFTables shows that a stamp says nothing of policy rules, and of the legacy iptables.
func TestEnsureSeesWhatIsNotNFTables(t *testing.T) {
	inside(t, nstest.New(t), func(h *netstate.Handle) {
		dir := stamped(t, h, podnet())
		command(t, "ip", "rule", "del", "pref", "1024")
		ensure(t, h, podnet(), dir)
		if d := check(t, h, podnet()); d != "" {
			t.Errorf("without its rule, check says %q", d)
		}
	})
	inside(t, nstest.New(t), func(h *netstate.Handle) {
		p := podnet()
		dir := stamped(t, h, p)
		command(t, "iptables-legacy", "-t", "mangle", "-N", chainNamesOf(p.Network, p.Family).enter)
		if !holds(t, p, dir) {
			t.Fatal("a chain of the legacy iptables is one of nftables")
		}
		if !ensure(t, h, p, dir) {
			t.Error("the chains of the legacy iptables stayed")
		}
		if d := check(t, h, p); d != "" {
			t.Errorf("check says %q", d)
		}
	})
}

// TestEnsureWithoutAStamp gives Ensure no folder, garbage, and a folder for a file: it is Apply.
func TestEnsureWithoutAStamp(t *testing.T) {
	inside(t, nstest.New(t), func(h *netstate.Handle) {
		p := podnet()
		dir := stamped(t, h, p)
		file := p.stampIn(dir)
		good := file.Read()
		nft(t, "flush", "table", "ip", "enichain")
		for what, text := range map[string]string{"nothing": "", "a part": good[:len(good)-1], "more": good + "0", "zeros": "\x00\x00"} {
			if err := os.WriteFile(string(file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if !ensure(t, h, p, dir) {
				t.Errorf("with %s as the stamp, ensure changed nothing", what)
			}
			nft(t, "flush", "table", "ip", "enichain")
		}
		if !ensure(t, h, p, filepath.Join(dir, "none")) {
			t.Error("without a folder, ensure changed nothing")
		}
		if err := os.Remove(string(file)); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(string(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if ensure(t, h, p, dir) || check(t, h, p) != "" {
			t.Error("with a folder for the file, ensure or check found a difference")
		}
	})
}
