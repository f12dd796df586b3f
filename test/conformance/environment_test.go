package conformance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/enichain/enichain/test/lab"
)

func TestEnvironment(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{})
	m.netns(t, "c")
	before := m.state(t)
	attachment := []string{"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"}
	needed := map[string][]string{
		"ADD": attachment, "CHECK": attachment, "DEL": {"CNI_CONTAINERID", "CNI_IFNAME"}, "GC": nil, "STATUS": nil,
	}
	for _, plugin := range plugins() {
		for verb, variables := range needed {
			t.Run(plugin+" "+verb, func(t *testing.T) {
				all := m.call(plugin, verb, "c", static())
				for _, name := range append(variables, "CNI_PATH") {
					c := m.call(plugin, verb, "c", static())
					delete(c.Env, name)
					m.fail(t, c, 4, name)
					delete(all.Env, name)
				}
				m.fail(t, all, 4, append(variables, "CNI_PATH")...)
			})
		}
		for variable, value := range map[string]string{
			"CNI_CONTAINERID": "../c", "CNI_IFNAME": "longer-than-fifteen", "CNI_COMMAND": "RENEW",
		} {
			t.Run(fmt.Sprintf("%s %s=%s", plugin, variable, value), func(t *testing.T) {
				c := m.call(plugin, "ADD", "c", static())
				c.Env[variable] = value
				m.fail(t, c, 4)
			})
		}
		for _, name := range []string{"a/b", "eth0:1", "a b", ".", ".."} {
			c := m.call(plugin, "ADD", "c", static())
			c.Env["CNI_IFNAME"] = name
			m.fail(t, c, 4, "interface")
		}
	}
	m.unchanged(t, before)
}

// A person who runs a plugin by hand learns what it is.
func TestNoCommand(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 1})
	for _, plugin := range plugins() {
		c := m.call(plugin, "", "c", static())
		delete(c.Env, "CNI_COMMAND")
		o := m.run(t, c)
		if o.Status != 0 || len(o.Stdout) > 0 || !strings.Contains(string(o.Stderr), plugin) {
			t.Errorf("%s: status %d, stdout %q, stderr %q", plugin, o.Status, o.Stdout, o.Stderr)
		}
	}
}

// podman asks every plugin of every conflist with each of its commands: dummies for all variables, and no stdin to speak of.
func TestVersion(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 1})
	before := m.state(t)
	for _, plugin := range plugins() {
		for _, stdin := range []string{"", `{"cniVersion":"0.4.0"}`, "garbage"} {
			c := m.call(plugin, "VERSION", "", static())
			c.Env = map[string]string{
				"CNI_COMMAND": "VERSION", "CNI_NETNS": "dummy", "CNI_IFNAME": "dummy", "CNI_PATH": "dummy", "CNI_CONTAINERID": "",
			}
			c.Stdin = []byte(stdin)
			var answer struct {
				CNIVersion        string   `json:"cniVersion"`
				SupportedVersions []string `json:"supportedVersions"`
			}
			if err := json.Unmarshal(m.succeed(t, c), &answer); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(answer.SupportedVersions, []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}) || answer.CNIVersion == "" {
				t.Errorf("%s: %+v", plugin, answer)
			}
		}
	}
	m.unchanged(t, before)
	sh(t, &m.Host, "test ! -e "+dataDir)
}

func TestUnsupportedVersions(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{})
	m.netns(t, "c")
	before := m.state(t)
	for _, plugin := range plugins() {
		for _, version := range []any{"2.0.0", "0.2.0", "1.0", "", nil} {
			for _, verb := range []string{"ADD", "DEL"} {
				m.fail(t, m.call(plugin, verb, "c", static().with(version, "cniVersion")), 1)
			}
		}
		for verb, first := range map[string]string{"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"} {
			for _, v := range versions() {
				if !slices.Contains(since(first), v) {
					m.fail(t, m.call(plugin, verb, "c", static().with(v, "cniVersion")), 1, "does not allow "+verb)
				}
			}
			m.fail(t, m.call(plugin, verb, "c", static().with("2.0.0", "cniVersion")), 1)
		}
	}
	m.unchanged(t, before)
}
