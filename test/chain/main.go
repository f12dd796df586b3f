package chain

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// atOnce is how many tests of a package run at the same time: most of their time they wait for a deadline.
const atOnce = 4

// Main is the TestMain of a package that runs the plugins and the drivers, several tests at a time: it builds them into bin,
// runs the tests and removes what was built.
func Main(m *testing.M, bin **Binaries) {
	flag.Parse()
	MainWith(m, bin, false, func() error {
		return flag.Set("test.parallel", strconv.Itoa(atOnce))
	})
}

// MainWith is a TestMain that builds with the race detector where race is set, and then what more is needed.
func MainWith(m *testing.M, bin **Binaries, race bool, more func() error) {
	status, err := runTests(m, bin, race, more)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func runTests(m *testing.M, bin **Binaries, race bool, more func() error) (status int, err error) {
	if race {
		name, value, _ := strings.Cut(RaceEnv, "=")
		if err := os.Setenv(name, value); err != nil {
			return 1, err
		}
	}
	built, err := Build(race)
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
