package marking

import (
	"errors"
	"strings"

	"github.com/enichain/enichain/core/netconf"
	"github.com/enichain/enichain/core/plainfile"
)

// ErrWaits says that a program could be put on a link, but not without a wait.
var ErrWaits = errors.New("putting a program on a link waits for a grace period of RCU, which is not expedited (/sys/kernel/rcu_expedited is 0)")

// Choose returns what auto is for a link, and what speaks against tcx where that is NFTables: ErrNoTCX, or ErrWaits. A program costs
// packets the least. But while the kernel puts one on a link, or takes it off, it waits for a grace period and holds the lock of all
// links (tcx_entry_sync, include/net/tcx.h): with many containers at once they queue for tens of milliseconds each.
func Choose(ifindex int) (by netconf.Marking, against, err error) {
	if !expedited(setting("rcu_expedited"), setting("rcu_normal")) {
		return netconf.NFTables, ErrWaits, nil
	}
	err = Available(ifindex)
	if errors.Is(err, ErrNoTCX) {
		return netconf.NFTables, err, nil
	}
	return netconf.TCX, nil, err
}

// Available returns why the kernel has no tcx on a link, if so: the error is then ErrNoTCX.
func Available(ifindex int) error {
	_, err := attached(ifindex)
	return err
}

// expedited says whether grace periods are, given the two settings (Documentation/admin-guide/kernel-parameters.txt): the second
// wins.
func expedited(expedited, normal string) bool {
	return expedited != "" && expedited != "0" && (normal == "" || normal == "0")
}

// setting is a kernel's setting of RCU; empty where it has none.
func setting(name string) string {
	value, err := plainfile.Read("/sys/kernel/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(value))
}
