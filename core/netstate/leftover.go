package netstate

import (
	"fmt"

	"github.com/enichain/enichain/core/layout"
)

// RemoveRule removes one rule of ours, that to its table alone. One that is gone already is no error.
func (h *Handle) RemoveRule(r layout.Rule) error {
	if err := h.nl.RuleDel(kernelRule(r)); err != nil && !gone(err) {
		return fmt.Errorf("remove rule %s: %w", r, err)
	}
	return nil
}
