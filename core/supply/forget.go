package supply

import (
	"errors"
	"net/netip"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/core/store"
)

// forget takes out of the store what the API does not list and no container owns: ENIs, and addresses that were free for
// long enough that the list cannot lag behind them. What is cooling or releasing is left to its own end.
func (s *Supply) forget(tx *store.Tx, listed []cloud.ENI, at Whereabouts) error {
	attached := map[string]bool{}
	for _, e := range listed {
		attached[e.ID] = true
	}
	if err := errors.Join(s.forgetAddresses(tx, at), s.forgetRanges(tx, at)); err != nil {
		return err
	}
	enis, err := tx.ENIs()
	if err != nil {
		return err
	}
	now := s.store.Now()
	for _, e := range enis {
		n, err := countsOf(tx, e.ID)
		if err != nil {
			return err
		}
		if e.Lost != !attached[e.ID] {
			e.Lost = !attached[e.ID]
			if err := tx.PutENI(e); err != nil {
				return err
			}
		}
		if attached[e.ID] || n.Total() > 0 || now-n.Changed <= settled {
			continue
		}
		s.log.Warn("the cloud took an ENI away", "eni", e.ID)
		if err := tx.RemoveENI(e.ID); err != nil {
			return err
		}
	}
	return nil
}

func (s *Supply) forgetAddresses(tx *store.Tx, at Whereabouts) error {
	addresses, err := tx.Addresses()
	for _, a := range addresses {
		if err != nil {
			return err
		}
		if _, has := at.Of(a.IP); a.State == store.Free && !has && s.store.Now()-a.Since > settled {
			s.log.Warn("the cloud took a free address away", "address", a.IP, "eni", a.ENI)
			err = tx.Remove([]netip.Addr{a.IP})
		}
	}
	return err
}

// forgetRanges forgets those of which nothing is in use, and has the others give no more addresses.
func (s *Supply) forgetRanges(tx *store.Tx, at Whereabouts) error {
	ranges, err := tx.Ranges()
	for _, r := range ranges {
		if err != nil {
			return err
		}
		_, has := at.Ranges[r.Prefix]
		if r.Releasing || !has && s.store.Now()-r.Since <= settled {
			continue
		}
		var n store.Counts
		n, err = tx.RangeCounts(r)
		switch {
		case err != nil:
		case has || n.Assigned+n.Cooling > 0:
			err = tx.LoseRange(r.Prefix, !has)
		default:
			s.log.Warn("the cloud took a prefix away", "prefix", r.Prefix, "eni", r.ENI)
			err = tx.RemovePrefixes([]netip.Prefix{r.Prefix})
		}
	}
	return err
}
