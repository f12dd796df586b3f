package cloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestRequestsThatAreRefused(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "empty"},
		{"garbage", "hello", "not of protocol"},
		{"two values", `{"protocol":"enichain.cloud/1","op":"node"} {}`, "not of protocol"},
		{"no protocol", `{"op":"node"}`, `protocol ""`},
		{"later protocol", `{"protocol":"enichain.cloud/2","op":"node"}`, `protocol "enichain.cloud/2", and this is enichain.cloud/1`},
		{"enis of nothing", `{"protocol":"enichain.cloud/1","op":"enis"}`, "enis needs instanceID"},
		{"limits of nothing", `{"protocol":"enichain.cloud/1","op":"limits"}`, "limits needs instanceType"},
		{"assign to nothing", `{"protocol":"enichain.cloud/1","op":"assign","count":1}`, "assign needs eni"},
		{"assign nothing", `{"protocol":"enichain.cloud/1","op":"assign","eni":"eni-1"}`, "assign needs a count"},
		{"unassign nothing", `{"protocol":"enichain.cloud/1","op":"unassign","eni":"eni-1"}`, "no addresses"},
		{"unassign empty", `{"protocol":"enichain.cloud/1","op":"unassign","eni":"eni-1","addresses":[""]}`, "an address is empty"},
		{"subnets of nothing", `{"protocol":"enichain.cloud/1","op":"subnets"}`, "subnets needs query"},
		{"subnets of no instance", `{"protocol":"enichain.cloud/1","op":"subnets","query":{}}`, "subnets needs query.instanceID"},
		{"create nothing", `{"protocol":"enichain.cloud/1","op":"create-eni"}`, "create-eni needs create"},
		{"create without token", `{"protocol":"enichain.cloud/1","op":"create-eni","create":{"instanceID":"i","subnetID":"s"}}`, "create-eni needs create.token"},
		{"create with a bad token", `{"protocol":"enichain.cloud/1","op":"create-eni","create":{"instanceID":"i","subnetID":"s","token":"a b"}}`, "printable"},
		{"create with both", `{"protocol":"enichain.cloud/1","op":"create-eni","create":{"instanceID":"i","subnetID":"s","token":"t","addresses":1,"prefixes":1}}`, "together"},
		{"create less than nothing", `{"protocol":"enichain.cloud/1","op":"create-eni","create":{"instanceID":"i","subnetID":"s","token":"t","addresses":-1}}`, "negative"},
		{"delete nothing", `{"protocol":"enichain.cloud/1","op":"delete-eni","instanceID":"i"}`, "delete-eni needs eni"},
		{"ENIs of no tags", `{"protocol":"enichain.cloud/1","op":"tagged-enis"}`, "tagged-enis needs tags"},
		{"assign no prefixes", `{"protocol":"enichain.cloud/1","op":"assign-prefixes","eni":"eni-1"}`, "assign-prefixes needs a count"},
		{"unassign no prefixes", `{"protocol":"enichain.cloud/1","op":"unassign-prefixes","eni":"eni-1"}`, "no prefixes"},
		{"unassign an address as a prefix", `{"protocol":"enichain.cloud/1","op":"unassign-prefixes","eni":"eni-1","prefixes":["10.0.0.5/28"]}`, "names an address within"},
		{"assign no IPv6", `{"protocol":"enichain.cloud/1","op":"assign-ipv6","eni":"eni-1"}`, "assign-ipv6 needs a count"},
		{"prefixes of IPv6 to nothing", `{"protocol":"enichain.cloud/1","op":"assign-ipv6-prefixes","count":1}`, "assign-ipv6-prefixes needs eni"},
		{"create with both of IPv6", `{"protocol":"enichain.cloud/1","op":"create-eni","create":{"instanceID":"i","subnetID":"s","token":"t","ipv6":1,"ipv6Prefixes":1}}`, "together"},
		{"bad address", `{"protocol":"enichain.cloud/1","op":"unassign","eni":"eni-1","addresses":["10.0.0"]}`, "not of protocol"},
		{"too long", strings.Repeat(" ", maxMessage+1), "bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			status := Serve(t.Context(), strings.NewReader(tt.text), &out, func(json.RawMessage) (Driver, error) {
				t.Error("a driver was made for a request that makes no sense")
				return nil, errors.New("unexpected")
			})
			a := &Answer{}
			if err := json.Unmarshal(out.Bytes(), a); err != nil {
				t.Fatalf("answer %q: %v", out.String(), err)
			}
			if status != 1 || a.Protocol != Protocol || a.Error == nil || a.Error.Class != Invalid || !strings.Contains(a.Error.Message, tt.want) {
				t.Errorf("answer, want status 1 and an invalid request with %q; got status %d and %s", tt.want, status, out.String())
			}
		})
	}
}

func TestUnknownOpIsUnsupported(t *testing.T) {
	for _, text := range []string{`{"protocol":"enichain.cloud/1"}`, `{"protocol":"enichain.cloud/1","op":"format"}`} {
		_, err := decodeRequest(strings.NewReader(text))
		wantError(t, err, Unsupported, "op ")
	}
}

const goodENI = `{"protocol":"enichain.cloud/1","eni":{"id":"eni-1","mac":"0a:00:00:00:00:01","state":"attached","instanceID":"i-1",
	"subnet":"10.0.0.0/24","gateway":"10.0.0.1","primaryIP":"10.0.0.4","addresses":[],"prefixes":["10.0.0.16/28"],"created":"2026-01-02T03:04:05Z"}}`

const goodNode = `{"protocol":"enichain.cloud/1","node":{"instanceID":"i-1","primaryMAC":"0a:00:00:00:00:01","vpcCIDRs":["10.0.0.0/16"],
	"enis":[{"id":"eni-1","mac":"0a:00:00:00:00:01","primary":true,"primaryIP":"10.0.0.4","addresses":["10.0.0.5"]}]}}`

func TestAnswersThatAreRefused(t *testing.T) {
	if _, err := decodeAnswer(strings.NewReader(goodNode), OpNode); err != nil {
		t.Fatalf("good answer: %v", err)
	}
	if a, err := decodeAnswer(strings.NewReader(goodENI), OpCreateENI); err != nil || a.ENI.State != Attached || a.ENI.Created.IsZero() {
		t.Fatalf("good answer: %+v, %v", a, err)
	}
	if a, err := decodeAnswer(strings.NewReader(`{"protocol":"enichain.cloud/1"}`), OpTaggedENIs); err != nil || len(a.ENIs) != 0 {
		t.Fatalf("no ENI has the tags: %+v, %v", a, err)
	}
	for _, tt := range []struct {
		name, text string
		op         Op
	}{
		{"empty", "", OpNode},
		{"no protocol", `{"limits":{"enis":1,"addressesPerENI":1}}`, OpLimits},
		{"later protocol", strings.Replace(goodNode, "cloud/1", "cloud/2", 1), OpNode},
		{"another operation's", goodNode, OpENIs},
		{"no instance", strings.Replace(goodNode, "i-1", "", 1), OpNode},
		{"no primary", strings.Replace(goodNode, `"primary":true,`, "", 1), OpNode},
		{"upper-case MAC", strings.ReplaceAll(goodNode, "0a:", "0A:"), OpNode},
		{"no primary address", strings.Replace(goodNode, "10.0.0.4", "", 1), OpNode},
		{"primary among the secondary", strings.Replace(goodNode, "10.0.0.5", "10.0.0.4", 1), OpNode},
		{"no ENIs", `{"protocol":"enichain.cloud/1","enis":[]}`, OpENIs},
		{"no limits", `{"protocol":"enichain.cloud/1"}`, OpLimits},
		{"zero limits", `{"protocol":"enichain.cloud/1","limits":{}}`, OpLimits},
		{"nothing assigned", `{"protocol":"enichain.cloud/1","addresses":[]}`, OpAssign},
		{"no subnets", `{"protocol":"enichain.cloud/1","subnets":[]}`, OpSubnets},
		{"subnet without gateway", `{"protocol":"enichain.cloud/1","subnets":[{"id":"s","cidr":"10.0.0.0/24"}]}`, OpSubnets},
		{"no prefixes", `{"protocol":"enichain.cloud/1"}`, OpAssignPrefixes},
		{"IPv4 for IPv6", `{"protocol":"enichain.cloud/1","addresses":["10.0.0.7"]}`, OpAssignIPv6},
		{"no prefixes of IPv6", `{"protocol":"enichain.cloud/1","prefixes":["10.0.0.16/28"]}`, OpAssignIPv6Prefixes},
		{"its own address twice", strings.Replace(goodENI, `"prefixes"`, `"primaryIP6":"2001:db8::1","ipv6":["2001:db8::1"],"prefixes"`, 1), OpCreateENI},
		{"no ENI", `{"protocol":"enichain.cloud/1"}`, OpCreateENI},
		{"ENI without gateway", strings.Replace(goodENI, `"gateway":"10.0.0.1",`, "", 1), OpCreateENI},
		{"ENI with a host's prefix", strings.Replace(goodENI, "16/28", "17/28", 1), OpCreateENI},
		{"something behind", `{"protocol":"enichain.cloud/1"} x`, OpUnassign},
	} {
		if a, err := decodeAnswer(strings.NewReader(tt.text), tt.op); err == nil {
			t.Errorf("%s: accepted as %+v", tt.name, a)
		}
	}
}

func TestUnknownClassIsInternal(t *testing.T) {
	a, err := decodeAnswer(strings.NewReader(`{"protocol":"enichain.cloud/1","error":{"class":"tired","message":"m"},"new":1}`), OpNode)
	if err != nil || a.Error.Class != Internal || a.Error.Message != "m" {
		t.Errorf("answer: got %+v, error %v", a, err)
	}
}

// failing is a driver that fails in a given way.
type failing struct {
	Driver
	fail func() error
}

func (f failing) Unassign(context.Context, string, []netip.Addr) error { return f.fail() }

func TestServeTellsErrors(t *testing.T) {
	const request = `{"protocol":"enichain.cloud/1","op":"unassign","eni":"eni-1","addresses":["10.0.0.5"]}`
	for _, tt := range []struct {
		name string
		fail func() error
		want Error
	}{
		{"an error of the contract", func() error { return &Error{Quota, "C", "m", "r"} }, Error{Quota, "C", "m", "r"}},
		{"any other", func() error { return errors.New("boom") }, Error{Class: Internal, Message: "boom"}},
		{"deadline", func() error { return context.DeadlineExceeded }, Error{Class: Unreachable, Message: "context deadline exceeded"}},
		{"panic", func() error { panic("boom") }, Error{Class: Internal, Message: "the driver panicked: boom"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			status := Serve(t.Context(), strings.NewReader(request), &out, func(json.RawMessage) (Driver, error) {
				return failing{fail: tt.fail}, nil
			})
			a, err := decodeAnswer(&out, OpUnassign)
			if status != 1 || err != nil || a.Error == nil || *a.Error != tt.want {
				t.Errorf("answer: want status 1 and %+v, got %d and %+v, error %v", tt.want, status, a, err)
			}
		})
	}
}

func TestServePassesConfigAndTimeout(t *testing.T) {
	const request = `{"protocol":"enichain.cloud/1","op":"unassign","timeoutMillis":1,"config":{"a": 1},"eni":"e","addresses":["10.0.0.5"]}`
	var out bytes.Buffer
	Serve(t.Context(), strings.NewReader(request), &out, func(config json.RawMessage) (Driver, error) {
		if string(config) != `{"a": 1}` {
			t.Errorf("config: got %s", config)
		}
		return past{}, nil
	})
	if !strings.Contains(out.String(), "deadline exceeded") {
		t.Errorf("a timeout that is over: got %s", out.String())
	}
}

// past is a driver that answers with its context's error, when that is over.
type past struct{ Driver }

func (past) Unassign(ctx context.Context, _ string, _ []netip.Addr) error {
	<-ctx.Done()
	return ctx.Err()
}

func FuzzRequest(f *testing.F) {
	f.Add(`{"protocol":"enichain.cloud/1","op":"assign","eni":"eni-1","count":3,"timeoutMillis":30000}`)
	f.Add(`{"protocol":"enichain.cloud/1","op":"unassign","eni":"eni-1","addresses":["10.0.0.5","::1"]}`)
	f.Fuzz(func(t *testing.T, text string) {
		req, err := decodeRequest(strings.NewReader(text))
		if err != nil {
			return
		}
		again, err := json.Marshal(req)
		if err != nil {
			t.Fatalf("a request that was accepted cannot be written: %v", err)
		}
		if _, err := decodeRequest(bytes.NewReader(again)); err != nil {
			t.Errorf("a request that was accepted is refused when written again: %v\n%s", err, again)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(goodNode, "node")
	f.Add(`{"protocol":"enichain.cloud/1","addresses":["10.0.0.5"]}`, "assign")
	f.Add(goodENI, "create-eni")
	f.Add(`{"protocol":"enichain.cloud/1","error":{"class":"quota","message":"m"}}`, "limits")
	f.Fuzz(func(t *testing.T, text, op string) {
		a, err := decodeAnswer(strings.NewReader(text), Op(op))
		if err != nil || a.Error != nil {
			return
		}
		switch Op(op) { // what Exec relies on
		case OpNode:
			if a.Node == nil || len(a.Node.ENIs) == 0 {
				t.Errorf("node accepted without one: %s", text)
			}
		case OpLimits:
			if a.Limits == nil {
				t.Errorf("limits accepted without any: %s", text)
			}
		case OpAssign:
			if len(a.Addresses) == 0 || !a.Addresses[0].IsValid() {
				t.Errorf("assign accepted without an address: %s", text)
			}
		case OpCreateENI:
			if a.ENI == nil || !a.ENI.Gateway.IsValid() {
				t.Errorf("create-eni accepted without an ENI: %s", text)
			}
		}
	})
}
