package store

import (
	"context"
	"fmt"
	"path/filepath"
)

// Drain records whether the ENI is to be emptied; false is returned where it is not known. TakeThis gives nothing of one
// that is, and Take's caller decides.
func (tx *Tx) Drain(id string, draining bool) (known bool, err error) {
	e, known, err := tx.ENI(id)
	if err != nil || !known {
		return known, err
	}
	e.Draining = draining
	return true, tx.set(bucketENIs, []byte(id), e)
}

// Copy writes the store, as it is, into another folder, which must exist. It returns ErrNoStore where there is none.
func (s *Store) Copy(ctx context.Context, dir string) error {
	to := filepath.Join(dir, filepath.Base(s.Path()))
	return s.View(ctx, func(tx *Tx) error {
		return tx.copyTo(to)
	})
}

func (tx *Tx) copyTo(path string) error {
	if err := tx.b.CopyFile(path, 0o600); err != nil {
		return fmt.Errorf("copy the store to %s: %w", path, err)
	}
	return nil
}
