// Package legacytables lists the tables of iptables' legacy variant that a network namespace has.
package legacytables

import (
	"errors"
	"os"
	"strings"

	"github.com/enichain/enichain/core/family"
	"github.com/enichain/enichain/core/plainfile"
)

// Of returns those of a family, in the calling thread's namespace. Any call of one of the variant's programs, if only to list a table,
// makes that table.
func Of(f family.Family) ([]string, error) {
	file := "ip_tables_names"
	if f == family.IPv6 {
		file = "ip6_tables_names"
	}
	names, err := plainfile.Read("/proc/thread-self/net/" + file)
	if errors.Is(err, os.ErrNotExist) { // the kernel has no such variant
		return nil, nil
	}
	return strings.Fields(string(names)), err
}
