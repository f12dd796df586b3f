package aws_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/aws"
	"github.com/enichain/enichain/cloud/drivertest"
	"github.com/enichain/enichain/test/vpcsim"
)

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
}

// An ENI that is being detached vanishes from the metadata key by key.
func TestNodeSkipsENIOnItsWayOut(t *testing.T) {
	for _, key := range []string{"", "/device-number", "/interface-id", "/local-ipv4s", "/subnet-ipv4-cidr-block"} {
		s := newSite(t)
		gone := "/latest/meta-data/network/interfaces/macs/" + s.ENIs(s.Instance.ID)[1].MAC.String() + key
		s.replaceIMDS(t, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, gone) {
					http.NotFound(w, r)
					return
				}
				h.ServeHTTP(w, r)
			})
		})
		n, err := s.driver(t, nil).Node(t.Context())
		if err != nil {
			t.Fatalf("without %q: %v", gone, err)
		}
		if len(n.ENIs) != 1 || !n.ENIs[0].Primary {
			t.Errorf("without %q: want the primary ENI alone, got %+v", gone, n.ENIs)
		}
	}
}

func TestNodeWithoutPrimary(t *testing.T) {
	s := newSite(t)
	s.replaceIMDS(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/vpc-ipv4-cidr-blocks") {
				http.NotFound(w, r)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	_, err := s.driver(t, nil).Node(t.Context())
	drivertest.WantClass(t, err, cloud.Internal)
}

// The metadata service sends upper-case MACs on some clouds; the contract is lower case.
func TestMACsAreLowerCase(t *testing.T) {
	s := newSite(t)
	s.replaceIMDS(t, upperCaseMACs)
	n, err := s.driver(t, nil).Node(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, mac := range []string{n.PrimaryMAC, n.ENIs[0].MAC, n.ENIs[1].MAC} {
		if mac != strings.ToLower(mac) {
			t.Errorf("MAC %s is not in lower case", mac)
		}
	}
}

func upperCaseMACs(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const folder = "/latest/meta-data/network/interfaces/macs/"
		rest, ok := strings.CutPrefix(r.URL.Path, folder)
		switch {
		case ok && strings.Trim(rest, "/") == "", r.URL.Path == "/latest/meta-data/mac":
			h.ServeHTTP(upperWriter{w}, r)
			return
		case ok && rest != strings.ToUpper(rest[:17])+rest[17:]:
			http.NotFound(w, r)
			return
		case ok:
			r = r.Clone(r.Context())
			r.URL.Path = folder + strings.ToLower(rest)
		}
		h.ServeHTTP(w, r)
	})
}

type upperWriter struct{ http.ResponseWriter }

func (w upperWriter) Write(p []byte) (int, error) {
	return w.ResponseWriter.Write([]byte(strings.ToUpper(string(p))))
}

func TestCredentials(t *testing.T) {
	s := newSite(t)
	keys := s.Keys()
	static := map[string]string{"AWS_ACCESS_KEY_ID": keys.AccessKeyID, "AWS_SECRET_ACCESS_KEY": keys.SecretAccessKey}
	for _, tt := range []struct {
		name, role string
		env        map[string]string
		want       cloud.Class // "" is success
	}{
		{"role", "some-role", nil, ""},
		{"keys and a role", "some-role", static, ""},
		{"keys and no role", "", static, ""},
		{"neither", "", nil, cloud.Auth},
		{"key without secret", "some-role", map[string]string{"AWS_ACCESS_KEY_ID": keys.AccessKeyID}, cloud.Auth},
		{"unknown key", "", map[string]string{"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN", "AWS_SECRET_ACCESS_KEY": keys.SecretAccessKey}, cloud.Auth},
		{"wrong secret", "", map[string]string{"AWS_ACCESS_KEY_ID": keys.AccessKeyID, "AWS_SECRET_ACCESS_KEY": "wrong"}, cloud.Auth},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.SetRole(tt.role)
			d, err := aws.New(s.config(t), func(name string) string { return tt.env[name] })
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

// node is for machines without any credentials too.
func TestNodeWithoutCredentials(t *testing.T) {
	s := newSite(t)
	s.SetRole("")
	if _, err := s.driver(t, nil).Node(t.Context()); err != nil {
		t.Error(err)
	}
	if n := s.Calls("DescribeNetworkInterfaces"); n != 0 {
		t.Errorf("node called the API %d times", n)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	l.Close()
	s := newSite(t)
	for _, tt := range []struct {
		name string
		c    aws.Config
	}{
		{"EC2", aws.Config{EC2Endpoint: nobody, IMDSEndpoint: s.imds.URL}},
		{"metadata", aws.Config{EC2Endpoint: s.ec2.URL, IMDSEndpoint: nobody}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config, err := json.Marshal(tt.c)
			if err != nil {
				t.Fatal(err)
			}
			d, err := aws.New(config, func(string) string { return "" })
			if err != nil {
				t.Fatal(err)
			}
			_, err = d.Assign(t.Context(), s.ENIs(s.Instance.ID)[1].ID, 1)
			e := drivertest.WantClass(t, err, cloud.Unreachable)
			if !strings.Contains(e.Message, "refused") {
				t.Errorf("message doesn't say why: %s", e.Message)
			}
		})
	}
}

func TestMetadataFailsAndHangs(t *testing.T) {
	s := newSite(t)
	drivertest.MetadataFailsAndHangs(t, s.IMDSFor(s.Instance.ID), func(url string) cloud.Driver {
		d, err := aws.New(fmt.Appendf(nil, `{"imdsEndpoint": %q}`, url), func(string) string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

// A call that EC2 doesn't answer ends with the deadline, and is Unreachable: nobody knows what became of it.
func TestNoAnswerInTime(t *testing.T) {
	s := newSite(t)
	s.Inject(vpcsim.Fault{Action: "AssignPrivateIpAddresses", Delay: time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := s.driver(t, nil).Assign(ctx, s.ENIs(s.Instance.ID)[1].ID, 1)
	drivertest.WantClass(t, err, cloud.Unreachable)
}

func TestThrottledCallsAreRepeated(t *testing.T) {
	s := newSite(t)
	eni := s.ENIs(s.Instance.ID)[1].ID
	s.Inject(vpcsim.Fault{Code: "RequestLimitExceeded", Times: 2})
	ips, err := s.driver(t, nil).Assign(t.Context(), eni, 2)
	if err != nil || len(ips) != 2 {
		t.Fatalf("assign: got %v, error %v", ips, err)
	}
	if n := s.Calls("AssignPrivateIpAddresses"); n != 3 {
		t.Errorf("attempts: want 3, got %d", n)
	}
	s.Inject(vpcsim.Fault{Code: "InternalError", Times: 1})
	if _, err := s.driver(t, nil).ENIs(t.Context(), s.Instance.ID); err != nil {
		t.Errorf("a call that changes nothing is not repeated: %v", err)
	}
}

// EC2's own failure may have come after the work: only the caller can settle it.
func TestFailedChangeIsNotRepeated(t *testing.T) {
	s := newSite(t)
	eni := s.ENIs(s.Instance.ID)[1].ID
	s.Inject(vpcsim.Fault{Action: "AssignPrivateIpAddresses", Code: "InternalError", AfterEffect: true})
	_, err := s.driver(t, nil).Assign(t.Context(), eni, 2)
	drivertest.WantClass(t, err, cloud.Internal)
	if held := s.ENIs(s.Instance.ID)[1].Secondary; len(held) != 2 {
		t.Errorf("addresses held: want 2, got %v", held)
	}
}

func TestClassesOfCodes(t *testing.T) {
	s := newSite(t)
	eni := s.ENIs(s.Instance.ID)[1].ID
	for code, want := range map[string]cloud.Class{
		"PrivateIpAddressLimitExceeded":      cloud.Quota,
		"AttachmentLimitExceeded":            cloud.Quota,
		"InsufficientFreeAddressesInSubnet":  cloud.SubnetFull,
		"InsufficientCidrBlocks":             cloud.SubnetFull,
		"AuthFailure":                        cloud.Auth,
		"UnauthorizedOperation":              cloud.Auth,
		"ExpiredToken":                       cloud.Auth,
		"RequestExpired":                     cloud.Auth,
		"InvalidNetworkInterfaceID.NotFound": cloud.NotFound,
		"InvalidParameterCombination":        cloud.Invalid,
		"UnknownParameter":                   cloud.Invalid,
		"InternalFailure":                    cloud.Internal,
		"Unavailable":                        cloud.Internal,
	} {
		s.Inject(vpcsim.Fault{Code: code, Message: "told you so"})
		_, err := s.driver(t, nil).Assign(t.Context(), eni, 1)
		e := drivertest.WantClass(t, err, want)
		if e.Code != code || e.Message != "told you so" || e.RequestID == "" {
			t.Errorf("error of %s: got %#v", code, e)
		}
	}
}

// A proxy's or load balancer's page is not EC2's answer.
func TestAnswerThatIsNotEC2s(t *testing.T) {
	s := newSite(t)
	s.Inject(vpcsim.Fault{Action: "AssignPrivateIpAddresses", Status: http.StatusBadGateway})
	_, err := s.driver(t, nil).Assign(t.Context(), s.ENIs(s.Instance.ID)[1].ID, 1)
	drivertest.WantClass(t, err, cloud.Internal)
}

func TestSubnetFull(t *testing.T) {
	v := vpcsim.New(vpcsim.Config{
		CIDRs:   []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
		Subnets: []vpcsim.Subnet{{ID: "subnet-0a", CIDR: netip.MustParsePrefix("10.0.1.0/28")}},
	})
	s := newSite(t)
	s.VPC = v
	i, err := v.AddInstance("c5.4xlarge")
	if err != nil {
		t.Fatal(err)
	}
	e, err := v.AddENI(i.ID, "subnet-0a", 0, netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	s.Instance = i
	s.replaceIMDS(t, func(h http.Handler) http.Handler { return h })
	s.ec2.Config.Handler = v.EC2()
	d := s.driver(t, nil)
	ips, err := d.Assign(t.Context(), e.ID, 10)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Assign(t.Context(), e.ID, 1)
	drivertest.WantClass(t, err, cloud.SubnetFull)
	if err := d.Unassign(t.Context(), e.ID, ips[3:4]); err != nil {
		t.Fatal(err)
	}
	again, err := d.Assign(t.Context(), e.ID, 1)
	if err != nil || !slices.Equal(again, ips[3:4]) {
		t.Errorf("the freed address again: want %v, got %v, error %v", ips[3:4], again, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, config := range []string{
		`{"ec2Endpoint": 3}`, `[]`, `{"ec2Endpoint": "localhost:80"}`, `{"imdsEndpoint": "ftp://169.254.169.254"}`,
		`{"ec2Endpoint": "https://user:secret@ec2"}`,
	} {
		_, err := aws.New(json.RawMessage(config), func(string) string { return "" })
		e := drivertest.WantClass(t, err, cloud.Invalid)
		if strings.Contains(e.Message, "secret") {
			t.Errorf("error tells a secret: %v", e)
		}
	}
}

func TestEndpointsFromEnvironment(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2"} {
		env := map[string]string{name: s.ec2.URL, "AWS_EC2_METADATA_SERVICE_ENDPOINT": s.imds.URL}
		d, err := aws.New(nil, func(name string) string { return env[name] })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.ENIs(t.Context(), s.Instance.ID); err != nil {
			t.Errorf("endpoints from %s: %v", name, err)
		}
	}
}
