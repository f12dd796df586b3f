package vpcsim_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/test/vpcsim"
)

type metadata struct {
	t   *testing.T
	url string
}

// serve serves the metadata of the instance that owns the ENI.
func serve(t *testing.T, v *vpcsim.VPC, e vpcsim.ENI) metadata {
	t.Helper()
	s := httptest.NewServer(v.IMDSFor(e.InstanceID))
	t.Cleanup(s.Close)
	return metadata{t, s.URL}
}

// do makes a request with "Name: value" headers and returns the status, the body and the answer's TTL header.
func (m metadata) do(method, path string, headers ...string) (int, string, string) {
	m.t.Helper()
	r, err := http.NewRequest(method, m.url+path, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	a, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		m.t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return a.StatusCode, string(text), a.Header.Get("X-aws-ec2-metadata-token-ttl-seconds")
}

const ttl = "X-aws-ec2-metadata-token-ttl-seconds: "

func (m metadata) token() string {
	m.t.Helper()
	status, text, _ := m.do("PUT", "/latest/api/token", ttl+"60")
	if status != 200 {
		m.t.Fatalf("token: status %d", status)
	}
	return "X-aws-ec2-metadata-token: " + text
}

func TestMetadataTokens(t *testing.T) {
	v := newVPC(t, "10.0.1.0/24")
	m, other := serve(t, v, launch(t, v, "m5.large")), serve(t, v, launch(t, v, "m5.large"))
	token := m.token()
	for _, tt := range []struct {
		name         string
		method, path string
		headers      []string
		want         int
	}{
		{"token", "PUT", "/latest/api/token", []string{ttl + "21600"}, 200},
		{"token without TTL", "PUT", "/latest/api/token", nil, 400},
		{"token of no time", "PUT", "/latest/api/token", []string{ttl + "0"}, 400},
		{"token for ever", "PUT", "/latest/api/token", []string{ttl + "21601"}, 400},
		{"token through a proxy", "PUT", "/latest/api/token", []string{ttl + "60", "X-Forwarded-For: 192.0.2.1"}, 403},
		{"get", "GET", "/latest/meta-data/instance-id", []string{token}, 200},
		{"get without token", "GET", "/latest/meta-data/instance-id", nil, 401},
		{"get with a wrong token", "GET", "/latest/meta-data/instance-id", []string{"X-aws-ec2-metadata-token: x"}, 401},
		{"get with another's token", "GET", "/latest/meta-data/instance-id", []string{other.token()}, 401},
		{"absent key", "GET", "/latest/meta-data/public-ipv4s", []string{token}, 404},
		{"other method", "POST", "/latest/meta-data/instance-id", []string{token}, 405},
	} {
		if got, _, _ := m.do(tt.method, tt.path, tt.headers...); got != tt.want {
			t.Errorf("%s: want status %d, got %d", tt.name, tt.want, got)
		}
	}
	if _, _, got := m.do("PUT", "/latest/api/token", ttl+"77"); got != "77" {
		t.Errorf("TTL header of a token: want 77, got %q", got)
	}
}

func TestMetadataTree(t *testing.T) {
	v := newVPC(t, "10.0.1.0/24")
	e := launch(t, v, "m5.large")
	if _, err := assign(client(t, v, v.Keys()), e.ID, 2); err != nil {
		t.Fatal(err)
	}
	m := serve(t, v, e)
	token := m.token()
	mac := "/latest/meta-data/network/interfaces/macs/" + e.MAC.String()
	for path, want := range map[string]string{
		"/latest/meta-data/network/interfaces/macs":   e.MAC.String() + "/",
		"/latest/meta-data/placement/":                "availability-zone\nregion",
		"/latest/meta-data/iam/security-credentials/": "enichain-node",
		"/latest/meta-data/instance-type":             "m5.large",
		"/latest/meta-data/mac":                       e.MAC.String(),
		mac + "/local-ipv4s":                          "10.0.1.4\n10.0.1.5\n10.0.1.6",
		mac + "/subnet-ipv4-cidr-block":               "10.0.1.0/24",
		mac + "/vpc-ipv4-cidr-blocks":                 "10.0.0.0/16",
		mac + "/device-number":                        "0",
		mac + "/interface-id/":                        e.ID,
	} {
		status, got, _ := m.do("GET", path, token)
		if status != 200 {
			t.Errorf("%s: status %d", path, status)
		} else if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", path, d)
		}
	}
	v.SetRole("")
	if status, _, _ := m.do("GET", "/latest/meta-data/iam/security-credentials/", token); status != 404 {
		t.Errorf("role credentials without a role: want status 404, got %d", status)
	}
}

func TestStaleMetadata(t *testing.T) {
	v := newVPC(t, "10.0.1.0/24")
	e := launch(t, v, "m5.large")
	m := serve(t, v, e)
	token := m.token()
	v.StaleMetadata(true)
	if _, err := assign(client(t, v, v.Keys()), e.ID, 1); err != nil {
		t.Fatal(err)
	}
	path := "/latest/meta-data/network/interfaces/macs/" + e.MAC.String() + "/local-ipv4s"
	if _, got, _ := m.do("GET", path, token); got != "10.0.1.4" {
		t.Errorf("frozen: got %q", got)
	}
	v.StaleMetadata(false)
	if _, got, _ := m.do("GET", path, token); got != "10.0.1.4\n10.0.1.5" {
		t.Errorf("following again: got %q", got)
	}
}

// One handler serves all instances: the caller's address tells them apart.
func TestMetadataByCaller(t *testing.T) {
	v := newVPC(t, "10.0.1.0/24")
	a, b := launch(t, v, "m5.large"), launch(t, v, "m5.large")
	ask := func(ip netip.Addr, method, path, header, value string) (int, string) {
		r := httptest.NewRequest(method, path, nil)
		r.RemoteAddr = netip.AddrPortFrom(ip, 4711).String()
		r.Header.Set(header, value)
		w := httptest.NewRecorder()
		v.IMDS().ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for _, e := range []vpcsim.ENI{a, b} {
		_, token := ask(e.PrimaryIP, "PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
		if _, got := ask(e.PrimaryIP, "GET", "/latest/meta-data/instance-id", "X-aws-ec2-metadata-token", token); got != e.InstanceID {
			t.Errorf("instance at %s: want %s, got %q", e.PrimaryIP, e.InstanceID, got)
		}
	}
	if status, _ := ask(netip.MustParseAddr("10.0.1.99"), "GET", "/", "X", "y"); status != 404 {
		t.Errorf("a stranger: want status 404, got %d", status)
	}
}
