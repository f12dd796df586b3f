package chain

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
)

// atOnce is how many tests of a package run at the same time: most of their time they wait for a deadline.
const atOnce = 4

// Main is the TestMain of a package that runs the plugins and the drivers: it builds them into bin, runs the tests and
// removes what was built.
func Main(m *testing.M, bin **Binaries) {
	flag.Parse()
	status, err := runTests(m, bin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func runTests(m *testing.M, bin **Binaries) (status int, err error) {
	if err := flag.Set("test.parallel", strconv.Itoa(atOnce)); err != nil {
		return 1, err
	}
	built, err := Build(false)
	if err != nil {
		return 1, err
	}
	*bin = built
	status = m.Run()
	return status, built.Remove()
}
