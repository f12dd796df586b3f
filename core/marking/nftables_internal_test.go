package marking

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/enichain/enichain/core/nfnetlink"
)

// What is sent of an element is read as the same.
func FuzzElements(f *testing.F) {
	for _, ip := range []string{"10.0.1.6", "2001:db8::6"} {
		ip := netip.MustParseAddr(ip)
		sent, err := nfnetlink.Encode(tableOf(ip).element(unix.NFT_MSG_NEWSETELEM, 0, element{ip, 5}).Put)
		if err != nil {
			f.Fatal(err)
		}
		parts, err := nfnetlink.Decode(sent)
		if err != nil {
			f.Fatal(err)
		}
		if got, err := elementsIn([]map[uint16][]byte{parts}); err != nil || len(got) != 1 || got[0] != (element{ip, 5}) {
			f.Errorf("%s is read as %v, %v", ip, got, err)
		}
		f.Add(parts[unix.NFTA_SET_ELEM_LIST_ELEMENTS])
	}
	f.Add([]byte{4, 0, 1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := elementsIn([]map[uint16][]byte{{unix.NFTA_SET_ELEM_LIST_ELEMENTS: data}})
		if err == nil && len(all) > len(data) {
			t.Errorf("%d octets are %d elements", len(data), len(all))
		}
	})
}
