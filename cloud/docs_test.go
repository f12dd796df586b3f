package cloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// example returns the fenced block of docs/cloud-driver.md behind the comment with the name.
func example(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/cloud-driver.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)<!-- " + name + " -->\n```[a-z]+\n(.*?)```").FindSubmatch(text)
	if found == nil {
		t.Fatalf("docs/cloud-driver.md has no example %q", name)
	}
	return string(found[1])
}

func TestExamplesOfTheDocs(t *testing.T) {
	req, err := decodeRequest(strings.NewReader(example(t, "request")))
	if err != nil || req.Op != OpAssign || req.Count != 2 || req.TimeoutMillis == 0 || req.Config == nil {
		t.Errorf("request: got %+v, error %v", req, err)
	}
	a, err := decodeAnswer(strings.NewReader(example(t, "answer")), OpAssign)
	if err != nil || len(a.Addresses) != 2 {
		t.Errorf("answer: got %+v, error %v", a, err)
	}
	a, err = decodeAnswer(strings.NewReader(example(t, "error")), OpAssign)
	if err != nil || a.Error == nil || a.Error.Class != Quota || a.Error.RequestID == "" {
		t.Errorf("error: got %+v, error %v", a, err)
	}
	req, err = decodeRequest(strings.NewReader(example(t, "create")))
	if err != nil || req.Create.Addresses != 4 || req.Create.Tags[TagCreated] == "" {
		t.Errorf("create: got %+v, error %v", req, err)
	}
	a, err = decodeAnswer(strings.NewReader(example(t, "created")), OpCreateENI)
	if err != nil || a.ENI.Tags[TagToken] != req.Create.Token || a.ENI.Created.IsZero() || len(a.ENI.Addresses) != 4 {
		t.Errorf("created: got %+v, error %v", a, err)
	}
	if !json.Valid([]byte(example(t, "policy"))) {
		t.Error("the policy is no JSON")
	}
}

// The answer that the docs show is what Serve writes for the request that they show.
func TestServeAnswersAsInTheDocs(t *testing.T) {
	var out, want bytes.Buffer
	status := Serve(t.Context(), strings.NewReader(example(t, "request")), &out, func(json.RawMessage) (Driver, error) {
		return giving{addresses: []netip.Addr{netip.MustParseAddr("10.0.2.17"), netip.MustParseAddr("10.0.2.18")}}, nil
	})
	if err := json.Compact(&want, []byte(example(t, "answer"))); err != nil {
		t.Fatal(err)
	}
	if status != 0 || strings.TrimSpace(out.String()) != want.String() {
		t.Errorf("answer:\n- want: %s\n-  got: %s", want.String(), out.String())
	}
}

// giving is a driver that assigns its addresses.
type giving struct {
	Driver
	addresses []netip.Addr
}

func (g giving) Assign(context.Context, string, int) ([]netip.Addr, error) { return g.addresses, nil }

func TestShellDriverOfTheDocs(t *testing.T) {
	x := script(t, strings.TrimPrefix(example(t, "driver"), "#!/bin/sh\n"))
	n, err := x.Node(t.Context())
	if err != nil || n.InstanceID != "node-1" || n.ENIs[0].Gateway.String() != "10.0.2.1" {
		t.Errorf("node: got %+v, error %v", n, err)
	}
	enis, err := x.ENIs(t.Context(), "node-1")
	if err != nil || len(enis[0].Addresses) != 2 {
		t.Errorf("ENIs: got %+v, error %v", enis, err)
	}
	if l, err := x.Limits(t.Context(), "any"); err != nil || l.AddressesPerENI != 3 {
		t.Errorf("limits: got %+v, error %v", l, err)
	}
	_, err = x.Assign(t.Context(), "eni-1", 1)
	wantError(t, err, Quota, "all its addresses")
	err = x.Unassign(t.Context(), "eni-1", []netip.Addr{netip.MustParseAddr("10.0.2.17")})
	wantError(t, err, Invalid)
	_, err = x.TaggedENIs(t.Context(), map[string]string{"a": "b"})
	wantError(t, err, Unsupported)
	if e := new(Error); errors.As(err, &e) && e.Class.Ambiguous() {
		t.Error("a refusal counts as ambiguous")
	}
}

// A plugin links this package, and must stay small.
func TestNoCloudSDKIsLinked(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if p := strings.TrimSpace(line); p == "net/http" || strings.HasPrefix(p, "github.com/aws/") || strings.HasPrefix(p, "github.com/tencentcloud/") {
			t.Errorf("package cloud imports %s", p)
		}
	}
}
