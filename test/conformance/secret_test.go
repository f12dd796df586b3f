package conformance

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/enichain/enichain/core/store"
	"github.com/enichain/enichain/test/chain"
	"github.com/enichain/enichain/test/clouds"
	"github.com/enichain/enichain/test/lab"
)

// spy is a machine of which everything is kept that comes out of it: outputs, logs, the store, what the driver says, and what
// each process is called with.
type spy struct {
	*machine
	cloud   clouds.Cloud
	folder  string // of what is kept, with a driver that keeps what it says
	network conf
	said    bytes.Buffer // by the plugins and enictl
}

func newSpy(t *testing.T, c clouds.Cloud) *spy {
	t.Helper()
	s := &spy{
		machine: newMachine(t, lab.Options{Cloud: c.Name, ENIs: 1, InstanceType: c.Small.Type}), cloud: c, folder: t.TempDir(),
		network: on(c).with("20s", "ipam", "timeout").with(1, "ipam", "batch").with(1, "ipam", "maxENIs").
			with(conf{"file": dataDir + "/ipam.log", "level": "debug"}, "ipam", "log").
			with(conf{"file": dataDir + "/ptp.log", "level": "debug"}, "log"),
	}
	name := "eni-cloud-" + c.Name
	script := fmt.Sprintf("#!/bin/sh\nout=$(/opt/cni/bin/%[1]s 2>>%[2]s/driver-stderr); status=$?\n"+
		"printf '%%s\\n' \"$out\" >>%[2]s/driver-stdout; printf '%%s\\n' \"$out\"; exit $status\n", name, s.folder)
	conflist, err := json.Marshal(conf{
		"cniVersion": "1.0.0", "cniVersions": []string{"1.0.0", "1.1.0"}, "name": s.network["name"], "plugins": []any{s.network.with("2s", "ipam", "timeout")},
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(s.folder, name), []byte(script), 0o700)
	}
	if err == nil {
		err = s.InstallCNI(bin.Dir, conflist)
	}
	if err != nil {
		t.Fatal(err)
	}
	sh(t, &s.Host, "mkdir -m 700 "+dataDir)
	return s
}

// do runs a program with more in its environment, and keeps what it says and which programs were called with what.
func (s *spy) do(t *testing.T, c chain.Call, env map[string]string) *chain.Outcome {
	t.Helper()
	c.Env["CNI_PATH"] = s.folder + ":/opt/cni/bin"
	maps.Copy(c.Env, env)
	c.Wrapper = []string{"strace", "--seccomp-bpf", "-f", "-qq", "-v", "-s", "100000", "-e", "trace=execve", "-e", "signal=none", "-A", "-o", s.folder + "/execs"}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	o, err := c.Run(ctx, &s.Host)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&s.said, "%s %s\n%s%s\n", filepath.Base(c.Plugin), c.Env["CNI_COMMAND"], o.Stdout, o.Stderr)
	return o
}

// enictl runs command lines of enictl.
func (s *spy) enictl(t *testing.T, env map[string]string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		c := s.call(ptpPlugin, "", "c", conf{})
		c.Plugin, c.Args = "/opt/cni/bin/enictl", strings.Fields(line)
		s.do(t, c, env)
	}
}

// refusal is a call that the cloud refuses.
type refusal struct {
	call    clouds.Call
	failure clouds.Failure
}

// refusals are of every kind.
func refusals() []refusal {
	return []refusal{
		{clouds.Assign, clouds.Throttled},
		{clouds.Assign, clouds.AddressLimit},
		{clouds.Assign, clouds.SubnetFull},
		{clouds.Assign, clouds.NotAllowed},
		{clouds.Assign, clouds.Broken},
		{clouds.Assign, clouds.Gone},
		{clouds.AnyCall, clouds.Refused},
		{clouds.CreateENI, clouds.ENILimit},
	}
}

// life is that of a container, with what the cloud refuses meanwhile, where it quotes what it was sent.
func (s *spy) life(t *testing.T, env map[string]string, refusals []refusal, sent ...string) {
	t.Helper()
	added := s.do(t, s.call(ptpPlugin, "ADD", "c", s.network), env)
	if added.Status != 0 {
		t.Fatalf("ADD: %s%s", added.Stdout, added.Stderr)
	}
	s.do(t, s.call(ptpPlugin, "CHECK", "c", s.network.with(json.RawMessage(added.Stdout), "prevResult")), env)
	s.do(t, s.call(snatPlugin, "ADD", "c", s.network.snat().with(json.RawMessage(added.Stdout), "prevResult")), env)
	s.do(t, s.call(ptpPlugin, "STATUS", "", s.network), env)
	eni := s.lab.VPC.ENIs(s.InstanceID)[0].ID
	s.enictl(t, env, "show", "show -o json", "warm 2", "limits", "maxpods", "metrics", "doctor", "lint", "reconcile -dry-run", "reconcile",
		"repair", "drain "+eni, "drain -undo "+eni, "sweep -age 0s", "sweep -age 0s -yes")
	for _, refusal := range refusals {
		fault := clouds.Always(s.cloud.Fault(refusal.call, refusal.failure))
		fault.Message = "you sent " + strings.Join(sent, " and ") + ", and " + url.QueryEscape(strings.Join(sent, "&"))
		s.lab.VPC.Inject(fault)
		refused := s.network
		switch {
		case refusal.call == clouds.CreateENI:
			refused = refused.with(1, "ipam", "firstDeviceIndex").with(2, "ipam", "maxENIs")
		case refusal.failure == clouds.Throttled || refusal.failure == clouds.Broken: // which is repeated to the end
			refused = refused.with("10s", "ipam", "timeout")
		}
		s.refused(t, env, refused, "[secret]", fault.Code)
		s.lab.VPC.ClearFaults()
		s.wake(t)
	}
	s.do(t, s.call(ptpPlugin, "DEL", "c", s.network), env)
	s.do(t, s.call(ptpPlugin, "GC", "", s.network.with([]conf{}, "cni.dev/valid-attachments")), env)
}

// refused is an ADD that the cloud has to be asked for, and that fails with the words; and its DEL.
func (s *spy) refused(t *testing.T, env map[string]string, network conf, words ...string) {
	t.Helper()
	s.empty(t)
	o := s.do(t, s.call(ptpPlugin, "ADD", "d", network), env)
	for _, word := range words {
		if o.Error == nil || !strings.Contains(o.Error.Msg, word) {
			t.Errorf("ADD with %v: %q is not in: %s", network["ipam"], word, o.Stdout)
		}
	}
	s.do(t, s.call(ptpPlugin, "DEL", "d", s.network), env)
}

// empty takes what is free from the pool and from the cloud, so that an ADD needs the cloud.
func (s *spy) empty(t *testing.T) {
	t.Helper()
	s.update(t, func(tx *store.Tx) error {
		if err := tx.Thaw(); err != nil {
			return err
		}
		all, err := tx.Addresses()
		for _, a := range all {
			if a.State == store.Free && err == nil {
				err = errors.Join(s.lab.VPC.RemoveAddress(a.IP), tx.Remove([]netip.Addr{a.IP}))
			}
		}
		return err
	})
}

// wake ends what rests after a refusal.
func (s *spy) wake(t *testing.T) { t.Helper(); s.update(t, (*store.Tx).WakeAll) }

func (s *spy) update(t *testing.T, fn func(*store.Tx) error) {
	t.Helper()
	if err := s.Do(func() error { return store.At(dataDir).Update(context.Background(), fn) }); err != nil {
		t.Fatal(err)
	}
}

// keysIn is an environment that has credentials in it.
func keysIn(c clouds.Cloud, id, secret, token string) map[string]string {
	env := map[string]string{c.KeyNames[0]: id, c.KeyNames[1]: secret, c.KeyNames[2]: token}
	maps.DeleteFunc(env, func(_, value string) bool { return value == "" })
	return env
}

// No secret is in any output, log, store or command line, and in no environment but those of our own programs that need it:
// with keys in the environment, for ever and for a while, and with those of the instance's role; where the cloud takes them,
// refuses them, or quotes them in its refusal; and with passwords in an endpoint and a proxy.
func TestNoSecretAnywhere(t *testing.T) {
	t.Parallel()
	clouds.Each(t, func(t *testing.T, c clouds.Cloud) {
		s := newSpy(t, c)
		for _, id := range []string{"c", "d"} {
			s.netns(t, id)
		}
		keys, role := s.lab.VPC.Keys(), s.lab.VPC.Role()
		const wrong, ofEndpoint, ofProxy = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "the+endpoints/word", "the+proxys/word"
		one := refusals()[3:4]
		s.life(t, keysIn(c, keys.AccessKeyID, keys.SecretAccessKey, ""), one, keys.SecretAccessKey)
		s.life(t, keysIn(c, role.AccessKeyID, role.SecretAccessKey, role.Token), one, role.SecretAccessKey, role.Token)
		s.life(t, nil, refusals(), role.SecretAccessKey, role.Token)
		words := map[string]string{"a wrong key": "Signature", "half of a key": "only one of", "a proxy": "127.0.0.1:9"}
		proxy := "http://user:" + url.PathEscape(ofProxy) + "@127.0.0.1:9"
		for name, env := range map[string]map[string]string{
			"a wrong key": keysIn(c, keys.AccessKeyID, wrong, ""), "half of a key": keysIn(c, "", keys.SecretAccessKey, ""),
			"a proxy": {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": c.MetadataAt + ",metadata.tencentyun.com"},
		} {
			s.refused(t, env, s.network.with("5s", "ipam", "timeout"), words[name])
			s.enictl(t, env, "reconcile", "doctor", "warm 3", "show")
		}
		endpoint := c.Endpoints("http://user:"+url.PathEscape(ofEndpoint)+"@10.19.255.10", "")
		s.refused(t, nil, s.network.with(endpoint, "ipam", "driver"), "endpoint is not of the form")
		s.searched(t, map[string]string{
			"the keys' secret": keys.SecretAccessKey, "the role's secret": role.SecretAccessKey, "the role's token": role.Token,
			"the wrong secret": wrong, "the endpoint's password": ofEndpoint, "the proxy's password": ofProxy,
		})
	})
}

// searched looks for the secrets in all that was kept.
func (s *spy) searched(t *testing.T, secrets map[string]string) {
	t.Helper()
	texts := map[string]string{"an output": s.said.String()}
	for name, file := range map[string]string{
		"the driver's output": s.folder + "/driver-stdout", "the driver's errors": s.folder + "/driver-stderr",
		"the store": dataDir + "/state.db", "the log of eni-ipam": dataDir + "/ipam.log", "the log of eni-ptp": dataDir + "/ptp.log",
	} {
		texts[name] = sh(t, &s.Host, "cat "+file)
	}
	var lines []string
	inherited := 0
	for line := range strings.Lines(sh(t, &s.Host, "cat "+s.folder+"/execs")) {
		call, env, _ := strings.Cut(line, "], [")
		lines = append(lines, call)
		for name, secret := range secrets {
			if found(env, secret) == "" {
				continue
			}
			inherited++
			if !slices.ContainsFunc([]string{`/eni-ptp"`, `/eni-ipam"`, `/eni-snat"`, `/eni-cloud-`, `/enictl"`, `/proc/self/exe"`}, func(ours string) bool {
				return strings.Contains(call, ours)
			}) {
				t.Errorf("%s is in the environment of %s", name, call)
			}
		}
	}
	texts["a command line"] = strings.Join(lines, "\n")
	for where, text := range texts {
		for name, secret := range secrets {
			if form := found(text, secret); form != "" {
				at := strings.Index(text, form)
				t.Errorf("%s is in %s: %s", name, where, text[max(0, at-200):at])
			}
		}
	}
	for where, proof := range map[string]string{
		"an output": "[secret]", "the driver's output": "[secret]", "the log of eni-ipam": `"msg":"assign"`, "the store": "i", "a command line": "eni-cloud-" + s.cloud.Name,
	} {
		if !strings.Contains(texts[where], proof) {
			t.Errorf("%q is not in %s: this has shown nothing", proof, where)
		}
	}
	if inherited == 0 {
		t.Error("no program has a secret in its environment: this has shown nothing")
	}
}

// found returns the form of the secret that is in the text: as it is, in a URL, or in base64, wherever in it.
func found(text, secret string) string {
	forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), strings.ReplaceAll(secret, "/", `\/`)}
	for before := range 3 {
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			whole := encoding.EncodeToString([]byte(strings.Repeat("x", before) + secret))
			forms = append(forms, whole[4:len(whole)-4]) // without what depends on the text around it
		}
	}
	for _, form := range forms {
		if strings.Contains(text, form) {
			return form
		}
	}
	return ""
}
