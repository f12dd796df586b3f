//go:build suite

// Package outside pins the programs of others that the tests run beside ours: cnitool, the reference plugins, and the
// integration suite of portmap, which brings these two along.
package outside

import (
	_ "github.com/onsi/ginkgo/v2"
	_ "github.com/onsi/gomega"
)
