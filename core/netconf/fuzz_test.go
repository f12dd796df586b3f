package netconf

import (
	"path/filepath"
	"testing"
)

// seeds are configurations from which the fuzzer starts: each section once, right and wrong.
func seeds() []string {
	return []string{
		``, `null`, `[]`, `{}`, `{"ipam":null}`, `{"ipam":{"cloud":"aws"}}`, `{"ipam":{"cloud":"aws","cooldown":"0s","timeout":"1s","batch":8}}`,
		`{"cniVersion":"1.1.0","name":"n","type":"eni-ptp","mtu":1500,"vethPrefix":"eni","ipam":{"type":"eni-ipam","cloud":"aws","driver":{"region":"x"}}}`,
		`{"ipam":{"cloud":"static","static":{"vpcCIDRs":["10.0.0.0/16"],"enis":[{"name":"eth0","primary":true,"subnet":"10.0.0.0/24",` +
			`"gateway":"10.0.0.1","primaryIP":"10.0.0.10","addresses":["10.0.0.16-10.0.0.31","10.0.0.40"]}]}}}`,
		`{"ipam":{"cloud":"static","static":{"enis":[{"mac":"02:00:00:00:00:01","primary":true,"subnet":"::/0","gateway":"::1","primaryIP":"::2",` +
			`"addresses":["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]}]}}}`,
		`{"ipam":{"cloud":"static","static":{"enis":[{"name":"e","primary":true,"subnet":"0.0.0.0/0","gateway":"1.1.1.1","primaryIP":"1.1.1.2",` +
			`"addresses":["255.255.255.255-255.255.255.255"]}]}}}`,
		`{"runtimeConfig":{"ips":["10.0.0.1/24"],"mac":"02:00:00:00:00:01"},"args":{"cni":{"ips":["fe80::1%eth0"],"mac":"x"}},"ipam":{"cloud":"aws"}}`,
		`{"cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}]}`, `{"cni.dev/attachments":null}`,
		`{"name":"n","vpcCIDRs":["10.0.0.0/8"],"excludeCIDRs":[""],"primary":"eth0","primaryIP":"10.0.0.1","containerInterfaces":["pod*","*"]}`,
		`{"prevResult":{"cniVersion":"1.1.0","ips":[{"interface":9,"address":"10.0.0.1/32"}]},"log":{"file":"x","level":"y"}}`,
	}
}

// Whatever is on stdin, no reader of it panics; and what it accepts holds what the plugins rely on.
func FuzzParse(f *testing.F) {
	for _, seed := range seeds() {
		f.Add([]byte(seed), "IgnoreUnknown=1;IP=10.0.0.1/33;MAC=02:00:00:00:00:01;K8S_POD_NAME=a=b")
	}
	f.Fuzz(func(t *testing.T, stdin []byte, cniArgs string) {
		if r, err := ParseIPAM(stdin); err == nil && r.Validate() == nil {
			checkIPAM(t, r, cniArgs)
		}
		if p, err := ParsePTP(stdin); err == nil && p.Validate() == nil {
			if len(p.VethPrefix) > 3 || p.IPAM.Type == "" || p.MTU < 0 || p.MTU > maxMTU {
				t.Errorf("accepted: %+v", p)
			}
			if mac, err := p.RequestedMAC(cniArgs); err == nil && mac != nil && len(mac) != 6 {
				t.Errorf("accepted the MAC %s", mac)
			}
		}
		if s, err := ParseSNAT(stdin); err == nil && (s.SNAT == nil || s.NodePort == nil || !filepath.IsAbs(s.DataDir)) {
			t.Errorf("accepted: %+v", s)
		}
		if valid, given, err := ValidAttachments(stdin); err == nil && given != (valid != nil) {
			t.Errorf("given is %t with %v", given, valid)
		}
	})
}

func checkIPAM(t *testing.T, r *IPAMRequest, cniArgs string) {
	t.Helper()
	c := r.IPAM
	if !filepath.IsAbs(c.DataDir) || c.Batch < 1 || c.Timeout <= 0 || c.Cooldown == nil || *c.Cooldown < 0 || c.Cloud == "" {
		t.Errorf("accepted: %+v", c)
	}
	if ips, err := r.RequestedIPs(cniArgs); err != nil && len(ips) > 0 || len(ips) > len(c.Families) || len(c.Families) > 2 {
		t.Errorf("%s and %v, of %v", ips, err, c.Families)
	}
	if c.Static == nil {
		return
	}
	for _, e := range c.Static.ENIs {
		if ips, err := e.Expand(); err != nil || len(ips) > maxStaticAddresses {
			t.Errorf("accepted a range of %d addresses: %v", len(ips), err)
		}
	}
}
