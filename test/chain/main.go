package chain

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
)

// atOnce is how many tests of a package run at the same time: most of their time they wait for a deadline.
const atOnce = 4

// Main is the TestMain of a package that runs the plugins and the drivers, several tests at a time: it builds them into bin,
// runs the tests and removes what was built.
func Main(m *testing.M, bin **Binaries) {
	flag.Parse()
	MainWith(m, bin, func() error {
		return flag.Set("test.parallel", strconv.Itoa(atOnce))
	})
}

// MainWith is a TestMain that builds the plugins and the drivers, and then what more is needed.
func MainWith(m *testing.M, bin **Binaries, more func() error) {
	status, err := runTests(m, bin, more)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func runTests(m *testing.M, bin **Binaries, more func() error) (status int, err error) {
	built, err := Build()
	if err != nil {
		return 1, err
	}
	*bin = built
	defer func() { err = errors.Join(err, built.Remove()) }()
	if err := more(); err != nil {
		return 1, err
	}
	return m.Run(), nil
}
