package main

import (
	"flag"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/test/vpcsim"
)

func TestOperandsMayStandAnywhere(t *testing.T) {
	for _, args := range []string{"node1 -i eth1 -c 3", "-i eth1 node1 -c 3", "-i eth1 -c 3 node1"} {
		set, _ := flags("pcap")
		link, count := set.String("i", "", ""), set.Int("c", 0, "")
		found, err := operands(set, strings.Fields(args))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(found, []string{"node1"}) || *link != "eth1" || *count != 3 {
			t.Errorf("%s: %v, interface %q, count %d", args, found, *link, *count)
		}
	}
}

func TestAPlanReachesTheHolder(t *testing.T) {
	set, asked := planFlags("up")
	if err := set.Parse(strings.Fields("-name x -nodes 4 -enis 2 -type t3.micro -delay 1.5s -rp-filter -1 -ipv6 -bin /b -conflist /c")); err != nil {
		t.Fatal(err)
	}
	holders, told := planFlags(holdCommand)
	if err := holders.Parse(asked.args(set)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(asked, told, cmp.AllowUnexported(plan{})); diff != "" {
		t.Errorf("(-asked +told):\n%s", diff)
	}
	if told.Delay != 1500*time.Millisecond || told.Nodes != 4 {
		t.Errorf("%+v", told)
	}
}

func TestTheConflistFitsTheLab(t *testing.T) {
	for name, families := range map[string]string{
		shippedConflist(vpcsim.AWS, false): "", shippedConflist(vpcsim.AWS, true): `"families": ["ipv4", "ipv6"]`,
		shippedConflist(vpcsim.TencentCloud, false): "", shippedConflist(vpcsim.TencentCloud, true): `"families": ["ipv4", "ipv6"]`,
	} {
		text, err := os.ReadFile("../../conflist/" + name)
		if err != nil {
			t.Error(err)
		}
		if got := regexp.MustCompile(`"families":.*`).FindString(string(text)); got != families {
			t.Errorf("%s has %q, want %q", name, got, families)
		}
	}
}

func TestNamesOfLabs(t *testing.T) {
	for name, good := range map[string]bool{
		"default": true, "a.b_c-1": true, "": false, "..": false, "a/b": false, "-x": false, strings.Repeat("a", 33): false,
	} {
		if _, err := stateOf(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestUsageNamesEachCommand(t *testing.T) {
	var out strings.Builder
	if err := run(nil, &out); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"up", "show", "exec", "env", "netns", "pcap", "inject", "list", "down", "demo", "bench"} {
		if !strings.Contains(out.String(), "\n  enilab "+command) {
			t.Errorf("the usage does not name %s", command)
		}
	}
	if err := run([]string{"upp"}, io.Discard); err == nil || !strings.Contains(err.Error(), "upp") {
		t.Errorf("an unknown command: %v", err)
	}
}

func TestMistakesAreTold(t *testing.T) {
	for args, want := range map[string]string{
		"down node1":                 "takes no operand",
		"demo node1":                 "takes no operand",
		"demo":                       "the plugins are not beside this program",
		"up -name ..":                "cannot be a lab's name",
		"show -name no-such-lab":     "is not up; enilab up -name no-such-lab",
		"exec -name no-such-lab n":   "needs a host and a command",
		"bench -rounds many":         "full or short is wanted",
		"env":                        "needs a node",
		"pcap":                       "needs a host",
		"netns node1 make c1":        "add or del",
		"inject -stale maybe":        "on or off",
		"inject -action X":           "needs a -code",
		"exec -name no-such-lab n x": "is not up",
	} {
		if err := run(strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("enilab %s: %v, want %q", args, err, want)
		}
	}
}

func TestFlagMistakesAreToldOnce(t *testing.T) {
	set, _ := flags("show")
	set.SetOutput(io.Discard)
	if _, err := operands(set, []string{"-no-such-flag"}); err != flag.ErrHelp {
		t.Errorf("%v", err)
	}
}
