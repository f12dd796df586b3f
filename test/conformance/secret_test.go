package conformance

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/vpcsim"
)

// No secret is in any output, log or file: with keys in the environment and with those of the instance's role, where the
// cloud takes them, refuses them, and quotes them in its refusal.
func TestNoSecretInAnyOutput(t *testing.T) {
	t.Parallel()
	m := newMachine(t, lab.Options{ENIs: 2})
	m.netns(t, "c")
	keys, role := m.lab.VPC.Keys(), m.lab.VPC.Role()
	const wrong = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	secrets := []string{keys.SecretAccessKey, role.SecretAccessKey, role.Token, wrong}
	static := map[string]string{"AWS_ACCESS_KEY_ID": keys.AccessKeyID, "AWS_SECRET_ACCESS_KEY": keys.SecretAccessKey}
	refused := map[string]string{"AWS_ACCESS_KEY_ID": keys.AccessKeyID, "AWS_SECRET_ACCESS_KEY": wrong}
	quote := func(used ...string) *vpcsim.Fault {
		return &vpcsim.Fault{Code: "AuthFailure", Status: 401, Message: "refused: " + strings.Join(used, " "), Times: -1}
	}
	network := on(clouds.AWS()).with("3s", "ipam", "timeout").
		with(conf{"file": dataDir + "/ipam.log", "level": "debug"}, "ipam", "log").
		with(conf{"file": dataDir + "/ptp.log", "level": "debug"}, "log")
	sh(t, &m.Host, "mkdir -m 700 "+dataDir)
	for _, tt := range []struct {
		name  string
		env   map[string]string
		fault *vpcsim.Fault
		code  uint
	}{
		{"keys that are wrong", refused, nil, 102},
		{"keys that are quoted", static, quote(keys.SecretAccessKey), 102},
		{"half of a key", map[string]string{"AWS_SECRET_ACCESS_KEY": keys.SecretAccessKey}, nil, 102},
		{"a role that is quoted", nil, quote(role.SecretAccessKey, role.Token), 102},
		{"keys", static, nil, 0},
		{"a role", nil, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.fault != nil {
				m.lab.VPC.Inject(*tt.fault)
				defer m.lab.VPC.ClearFaults()
			}
			for _, verb := range []string{"ADD", "STATUS", "DEL"} {
				c := m.call(ptpPlugin, verb, "c", network)
				maps.Copy(c.Env, tt.env)
				o := m.run(t, c)
				noSecret(t, o, secrets)
				if verb == "ADD" && (tt.code == 0) != (o.Error == nil) || o.Error != nil && o.Error.Code != tt.code {
					t.Errorf("%s: %v, want code %d", verb, o.Error, tt.code)
				}
			}
		})
	}
	files := sh(t, &m.Host, "cat "+dataDir+"/*")
	if !strings.Contains(files, `"msg":"assign"`) {
		t.Error("the log does not say that addresses were assigned")
	}
	for i, secret := range secrets {
		if strings.Contains(files, secret) {
			t.Errorf("secret %d is in a file of %s", i, dataDir)
		}
	}
}

func noSecret(t *testing.T, o *chain.Outcome, secrets []string) {
	t.Helper()
	for i, secret := range secrets {
		if bytes.Contains(o.Stdout, []byte(secret)) || bytes.Contains(o.Stderr, []byte(secret)) {
			t.Errorf("secret %d is in the output: %s%s", i, o.Stdout, o.Stderr)
		}
	}
}
