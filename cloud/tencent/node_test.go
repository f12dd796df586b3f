package tencent_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/drivertest"
	"github.com/enichain/enichain/cloud/tencent"
	"github.com/enichain/enichain/test/vpcsim"
)

// without answers 404 for the paths that end so, or lie in such a folder.
func without(paths ...string) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, p := range paths {
				if strings.HasSuffix(r.URL.Path, p) || strings.Contains(r.URL.Path, p+"/") {
					http.NotFound(w, r)
					return
				}
			}
			h.ServeHTTP(w, r)
		})
	}
}

// An ENI that is being detached vanishes from the metadata key by key.
func TestNodeSkipsENIOnItsWayOut(t *testing.T) {
	for _, key := range []string{"", "/primary-local-ipv4", "/subnet-id", "/local-ipv4s", "/local-ipv4s/10.0.2.2/gateway", "/local-ipv4s/10.0.2.2/subnet-mask"} {
		s := newSite(t)
		s.replaceMetadata(t, without("/macs/"+strings.ToUpper(s.eni(1).MAC.String())+key))
		n, err := s.driver(t, nil).Node(t.Context())
		if err != nil {
			t.Fatalf("without %q: %v", key, err)
		}
		if len(n.ENIs) != 1 || !n.ENIs[0].Primary {
			t.Errorf("without %q: want the primary ENI alone, got %+v", key, n.ENIs)
		}
	}
}

func TestNodeWithoutPrimary(t *testing.T) {
	s := newSite(t)
	s.replaceMetadata(t, without("/macs/"+strings.ToUpper(s.eni(0).MAC.String())))
	_, err := s.driver(t, nil).Node(t.Context())
	drivertest.WantClass(t, err, cloud.Internal)
}

// Without the API, for want of credentials or of an answer, the metadata service's part is there all the same.
func TestNodeWithoutTheAPI(t *testing.T) {
	for name, spoil := range map[string]func(*site){
		"no credentials": func(s *site) { s.SetRole("") },
		"not permitted":  func(s *site) { s.Inject(vpcsim.Fault{Code: "UnauthorizedOperation", Times: -1}) },
		"no answer":      func(s *site) { s.Inject(vpcsim.Fault{Delay: time.Minute, Times: -1}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			spoil(s)
			n, err := s.driver(t, nil).Node(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := s.world(nil).Node
			want.VPCCIDRs = nil
			for i := range want.ENIs {
				e := &want.ENIs[i]
				e.ID, e.DeviceIndex, e.Subnet6, e.Gateway6, e.PrimaryIP6 = "", 0, netip.Prefix{}, netip.Addr{}, netip.Addr{}
			}
			if d := cmp.Diff(&want, n, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
				t.Errorf("node (-want +got):\n%s", d)
			}
		})
	}
}

// Where the metadata service has no type, the API has.
func TestInstanceTypeFromTheAPI(t *testing.T) {
	s := newSite(t)
	s.replaceMetadata(t, without("/instance/instance-type"))
	n, err := s.driver(t, nil).Node(t.Context())
	if err != nil || n.InstanceType != "S5.MEDIUM4" {
		t.Errorf("node: got %+v, error %v", n, err)
	}
	if l, err := s.driver(t, nil).Limits(t.Context(), "S5.MEDIUM4"); err != nil || l.ENIs != 4 {
		t.Errorf("limits: got %+v, error %v", l, err)
	}
}

// The gateway is what the metadata service says, and not the subnet's first address: a user may have moved it.
func TestGatewayIsTheMetadatas(t *testing.T) {
	s := newSite(t)
	s.replaceMetadata(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/gateway") {
				_, _ = w.Write([]byte("10.0.1.254\n"))
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	n, err := s.driver(t, nil).Node(t.Context())
	if err != nil || n.ENIs[0].Gateway != netip.MustParseAddr("10.0.1.254") {
		t.Errorf("node: got %+v, error %v", n, err)
	}
}

func TestBrokenMetadata(t *testing.T) {
	for path, text := range map[string]string{
		"/subnet-mask": "255.0.255.0", "/gateway": "here", "/primary-local-ipv4": "", "/local-ipv4s/": "10.0.1.2/\nme/",
	} {
		s := newSite(t)
		s.replaceMetadata(t, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, path) {
					_, _ = w.Write([]byte(text))
					return
				}
				h.ServeHTTP(w, r)
			})
		})
		_, err := s.driver(t, nil).Node(t.Context())
		if e := drivertest.WantClass(t, err, cloud.Internal); !strings.Contains(e.Message, strings.Trim(path, "/")) {
			t.Errorf("%s is %q: the error does not name it: %v", path, text, e)
		}
	}
}

// A metadata service that fails for a moment is asked again.
func TestMetadataIsAskedAgain(t *testing.T) {
	s := newSite(t)
	s.Inject(vpcsim.Fault{Action: vpcsim.IMDS, Status: http.StatusBadGateway})
	s.Inject(vpcsim.Fault{Action: vpcsim.IMDS, AfterEffect: true})
	if _, err := s.driver(t, nil).Node(t.Context()); err != nil {
		t.Error(err)
	}
	s.Inject(vpcsim.Fault{Action: vpcsim.IMDS, Status: http.StatusBadGateway, Times: -1})
	_, err := s.driver(t, nil).Node(t.Context())
	drivertest.WantClass(t, err, cloud.Internal)
}

func TestMetadataFailsAndHangs(t *testing.T) {
	s := newSite(t)
	drivertest.MetadataFailsAndHangs(t, s.TencentMetadataFor(s.Instance.ID), func(url string) cloud.Driver {
		d, err := tencent.New(fmt.Appendf(nil, `{"metadataEndpoint": %q}`, url), func(string) string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		of, asked, refused string
		want               cloud.Limits
	}{
		{"S5.2XLARGE16", "S5.2XLARGE16", "", cloud.Limits{ENIs: 6, AddressesPerENI: 20}},
		{"S5.SMALL1", "S5.SMALL1", "", cloud.Limits{ENIs: 2, AddressesPerENI: 6}},
		{"S5.4XLARGE32", "S5.4XLARGE32", "DescribeNetworkInterfaceLimit", cloud.Limits{ENIs: 8, AddressesPerENI: 30}},
		{"S5.4XLARGE32", "S5.4XLARGE32", "*", cloud.Limits{ENIs: 8, AddressesPerENI: 30}},
		{"S5.MEDIUM4", "M5.3XLARGE48", "", cloud.Limits{ENIs: 8, AddressesPerENI: 30}}, // another's, by name
		{"S5.MEDIUM4", "SA1.LARGE16", "", cloud.Limits{ENIs: 4, AddressesPerENI: 20}},
		{"S5.MEDIUM4", "S5.2XLARGE16", "", cloud.Limits{ENIs: 6, AddressesPerENI: 20}},
	} {
		s := newSiteOf(t, tt.of)
		if tt.refused != "" {
			s.Inject(vpcsim.Fault{Action: strings.Trim(tt.refused, "*"), Code: "UnauthorizedOperation", Times: -1})
		}
		got, err := s.driver(t, nil).Limits(t.Context(), tt.asked)
		tt.want.IPv6PerENI = tt.want.AddressesPerENI
		if err != nil || got != tt.want {
			t.Errorf("limits of %s on a %s, refused %q:\n- want: %+v\n-  got: %+v, error %v", tt.asked, tt.of, tt.refused, tt.want, got, err)
		}
	}
	s := newSite(t)
	for _, asked := range []string{"BMS5.24XLARGE384x", "BMD2", "S5", "m5.large"} {
		_, err := s.driver(t, nil).Limits(t.Context(), asked)
		drivertest.WantClass(t, err, cloud.NotFound)
	}
	s.Inject(vpcsim.Fault{Code: "RequestLimitExceeded", Times: -1}) // which says nothing of the limits: no table then
	ctx, cancel := contextWithTimeout(t, time.Second)
	defer cancel()
	_, err := s.driver(t, nil).Limits(ctx, "S5.MEDIUM4")
	if err == nil || !strings.Contains(err.Error(), "RequestLimitExceeded") { // the time may be over in the middle of an attempt
		t.Errorf("error: %v", err)
	}
}

func TestCredentials(t *testing.T) {
	s := newSite(t)
	keys, role := s.Keys(), s.Role()
	env := func(id, key, token string) map[string]string {
		return map[string]string{"TENCENTCLOUD_SECRET_ID": id, "TENCENTCLOUD_SECRET_KEY": key, "TENCENTCLOUD_TOKEN": token}
	}
	for _, tt := range []struct {
		name, role string
		env        map[string]string
		want       cloud.Class // "" is success
	}{
		{"role", "some-role", nil, ""},
		{"keys and a role", "some-role", env(keys.AccessKeyID, keys.SecretAccessKey, ""), ""},
		{"keys and no role", "", env(keys.AccessKeyID, keys.SecretAccessKey, ""), ""},
		{"temporary keys", "", env(role.AccessKeyID, role.SecretAccessKey, role.Token), ""},
		{"neither", "", nil, cloud.Auth},
		{"key without secret", "some-role", env(keys.AccessKeyID, "", ""), cloud.Auth},
		{"unknown key", "", env("AKIDUNKNOWN", keys.SecretAccessKey, ""), cloud.Auth},
		{"wrong secret", "", env(keys.AccessKeyID, "wrong", ""), cloud.Auth},
		{"temporary keys without their token", "", env(role.AccessKeyID, role.SecretAccessKey, ""), cloud.Auth},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.SetRole(tt.role)
			d, err := tencent.New(s.config(t), func(name string) string { return tt.env[name] })
			if err == nil {
				_, err = d.ENIs(t.Context(), s.Instance.ID)
			}
			if tt.want != "" {
				drivertest.WantClass(t, err, tt.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// A driver that lives on replaces the role's credentials before their end, and not at each call.
func TestCredentialsAreRefreshed(t *testing.T) {
	s := newSite(t)
	var asked int
	s.replaceMetadata(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/security-credentials/") {
				asked++
			}
			h.ServeHTTP(w, r)
		})
	})
	d := s.driver(t, nil)
	call := func() {
		t.Helper()
		if _, err := d.ENIs(t.Context(), s.Instance.ID); err != nil {
			t.Fatal(err)
		}
	}
	s.RotateRole(4 * time.Minute) // too near their end to be kept
	call()
	s.RotateRole(time.Hour) // the old ones are refused from here on
	call()
	call()
	if asked != 2 {
		t.Errorf("credentials asked for %d times, want 2", asked)
	}
}

// Credentials near their end serve on while the metadata service does not answer; those past it do not.
func TestOldCredentials(t *testing.T) {
	s := newSite(t)
	s.RotateRole(4 * time.Minute)
	d := s.driver(t, map[string]string{"TENCENTCLOUD_REGION": "ap-guangzhou"})
	for range 2 {
		if _, err := d.ENIs(t.Context(), s.Instance.ID); err != nil {
			t.Fatal(err)
		}
		s.Inject(vpcsim.Fault{Action: vpcsim.IMDS, Status: http.StatusBadGateway, Times: -1})
	}
	s = newSite(t)
	s.RotateRole(-time.Minute)
	_, err := s.driver(t, nil).ENIs(t.Context(), s.Instance.ID)
	if e := drivertest.WantClass(t, err, cloud.Auth); !strings.Contains(e.Message, "clock") {
		t.Errorf("the error does not say why: %v", e)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, config := range []string{
		`{"vpcEndpoint": 3}`, `[]`, `{"vpcEndpoint": "ftp://10.0.0.1"}`, `{"metadataEndpoint": "http://"}`,
		`{"cvmEndpoint": "https://user:secret@cvm"}`, `{"vpcEndpoint": "vpc.example", "scheme": "gopher"}`, `{"vpcEndpoint": "https://vpc/secret"}`,
	} {
		_, err := tencent.New([]byte(config), func(string) string { return "" })
		if e := drivertest.WantClass(t, err, cloud.Invalid); strings.Contains(e.Message, "secret") {
			t.Errorf("error tells a secret: %v", e)
		}
	}
}

// Endpoints may come from the environment, and as a host with the scheme beside it.
func TestEndpoints(t *testing.T) {
	s := newSite(t)
	host := strings.TrimPrefix(s.api.URL, "http://")
	for name, tt := range map[string]struct {
		config string
		env    map[string]string
	}{
		"environment": {`{}`, map[string]string{
			"TENCENTCLOUD_VPC_ENDPOINT": s.api.URL, "TENCENTCLOUD_CVM_ENDPOINT": s.api.URL, "TENCENTCLOUD_METADATA_ENDPOINT": s.metadata.URL,
		}},
		"host and scheme": {`{"vpcEndpoint": "` + host + `", "cvmEndpoint": "` + host + `", "scheme": "http", "region": "ap-guangzhou", "metadataEndpoint": "` + s.metadata.URL + `"}`, nil},
	} {
		d, err := tencent.New([]byte(tt.config), func(name string) string { return tt.env[name] })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.ENIs(t.Context(), s.Instance.ID); err != nil {
			t.Errorf("endpoints from %s: %v", name, err)
		}
	}
}

// ENIs of more than one page, whatever the size of the API's pages.
func TestPages(t *testing.T) {
	s := newSite(t)
	if _, err := s.AddENI(s.Instance.ID, "subnet-0a", 2, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	s.SetPageSize(1)
	enis, err := s.driver(t, nil).ENIs(t.Context(), s.Instance.ID)
	if err != nil || len(enis) != 3 {
		t.Fatalf("ENIs of three pages: got %v, error %v", enis, err)
	}
	if n := s.Calls("DescribeNetworkInterfaces"); n != 3 {
		t.Errorf("pages asked for: want 3, got %d", n)
	}
	if !slices.IsSortedFunc(enis, func(a, b cloud.ENI) int { return a.DeviceIndex - b.DeviceIndex }) {
		t.Errorf("ENIs in no order: %v", enis)
	}
}
