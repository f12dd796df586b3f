package lab_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/probe"
)

// client speaks HTTP from inside the node.
func client(t *testing.T, n *lab.Node) *http.Client {
	transport := &http.Transport{DialContext: n.DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func fetch(t *testing.T, c *http.Client, r *http.Request) (int, []byte) {
	t.Helper()
	response, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // it is read to its end below
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, body
}

func request(t *testing.T, method, target, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// metadata asks IMDSv2 as the node does.
func metadata(t *testing.T, n *lab.Node, path string) string {
	t.Helper()
	const service = "http://169.254.169.254/latest/"
	c := client(t, n)
	put := request(t, http.MethodPut, service+"api/token", "")
	put.Header.Set("X-aws-ec2-metadata-token-ttl-seconds", "60")
	status, token := fetch(t, c, put)
	if status != http.StatusOK {
		t.Fatalf("%s: no token: status %d", n.Name, status)
	}
	get := request(t, http.MethodGet, service+"meta-data/"+path, "")
	get.Header.Set("X-aws-ec2-metadata-token", string(token))
	status, answer := fetch(t, c, get)
	if status != http.StatusOK {
		t.Fatalf("%s: %s: status %d", n.Name, path, status)
	}
	return string(answer)
}

// ec2 calls the EC2 API from the node, with the credentials of the instance's role.
func ec2(t *testing.T, n *lab.Node, form url.Values) (int, []byte) {
	t.Helper()
	i := slices.IndexFunc(n.Env(), func(s string) bool { return strings.HasPrefix(s, "AWS_ENDPOINT_URL=") })
	_, endpoint, _ := strings.Cut(n.Env()[i], "=")
	form.Set("Version", "2016-11-15")
	r := request(t, http.MethodPost, endpoint+"/", form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	role := metadata(t, n, "iam/security-credentials/")
	var keys struct{ AccessKeyId, SecretAccessKey, Token string } //nolint:revive // AWS's own spelling
	if err := json.Unmarshal([]byte(metadata(t, n, "iam/security-credentials/"+role)), &keys); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(form.Encode()))
	credentials := aws.Credentials{AccessKeyID: keys.AccessKeyId, SecretAccessKey: keys.SecretAccessKey, SessionToken: keys.Token}
	err := v4.NewSigner().SignHTTP(t.Context(), credentials, r, hex.EncodeToString(sum[:]), "ec2", "us-east-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return fetch(t, client(t, n), r)
}

// assign asks EC2 for secondary addresses, and returns those it names.
func assign(t *testing.T, n *lab.Node, eni string, count int) []string {
	t.Helper()
	status, body := ec2(t, n, url.Values{
		"Action": {"AssignPrivateIpAddresses"}, "NetworkInterfaceId": {eni},
		"SecondaryPrivateIpAddressCount": {fmt.Sprint(count)},
	})
	if status != http.StatusOK {
		t.Fatalf("assign: status %d: %s", status, body)
	}
	var answer struct {
		IPs []string `xml:"assignedPrivateIpAddressesSet>item>privateIpAddress"`
	}
	if err := xml.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.IPs) != count {
		t.Fatalf("asked for %d addresses, got %v", count, answer.IPs)
	}
	return answer.IPs
}

func unassign(t *testing.T, n *lab.Node, eni, ip string) {
	t.Helper()
	status, body := ec2(t, n, url.Values{
		"Action": {"UnassignPrivateIpAddresses"}, "NetworkInterfaceId": {eni}, "PrivateIpAddress.1": {ip},
	})
	if status != http.StatusOK {
		t.Fatalf("unassign: status %d: %s", status, body)
	}
}

func TestMetadataKnowsTheCaller(t *testing.T) {
	l := up(t, lab.Options{})
	for _, n := range l.Nodes {
		if got := metadata(t, n, "instance-id"); got != n.InstanceID {
			t.Errorf("%s: the metadata service says %s, want %s", n.Name, got, n.InstanceID)
		}
	}
}

func TestEC2RefusesTheUnsigned(t *testing.T) {
	l := up(t, lab.Options{Nodes: 1})
	r := request(t, http.MethodPost, "http://10.19.255.10/", "Action=DescribeNetworkInterfaces&Version=2016-11-15")
	if status, body := fetch(t, client(t, l.Nodes[0]), r); status < 400 || !bytes.Contains(body, []byte("<Code>")) {
		t.Errorf("status %d: %s", status, body)
	}
}

// arrives says whether a ping to the address, which no interface holds, comes in by the node's link: the request is
// enough, since only a container would answer it.
func arrives(t *testing.T, l *lab.Lab, to, link string, limit time.Duration) bool {
	t.Helper()
	capture := captureICMP(t, &l.Node("node1").Host)
	defer func() {
		if _, err := capture.Stop(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	var pinger sync.WaitGroup
	defer pinger.Wait()
	defer cancel()
	pinger.Go(func() {
		_ = l.Node("node2").Do(func() error { // whether it is answered is not the question
			_, err := probe.Ping(ctx, netip.MustParseAddr(to), probe.From{})
			return err
		})
	})
	_, err := capture.Wait(ctx, func(p probe.Packet) bool {
		return p.Interface == link && p.Dst.Addr().String() == to
	})
	return err == nil
}

func TestAssignedAddressesAreRouted(t *testing.T) {
	l := up(t, lab.Options{})
	n := l.Node("node1")
	prepare(t, n, "eth1", node1Eth1, "10.19.16.1", 2)
	eni := l.VPC.ENIs(n.InstanceID)[1].ID
	addresses := assign(t, n, eni, 2)
	for _, ip := range addresses {
		if !arrives(t, l, ip, "eth1", patience) {
			t.Errorf("%s did not come in by eth1", ip)
		}
	}
	unassign(t, n, eni, addresses[0])
	if arrives(t, l, addresses[0], "eth1", silence) {
		t.Errorf("%s still comes in after it was unassigned", addresses[0])
	}
	if !arrives(t, l, addresses[1], "eth1", patience) {
		t.Errorf("%s went with another", addresses[1])
	}
}

func TestTheNetworkLagsBehindTheAPI(t *testing.T) {
	const delay = time.Second
	l := up(t, lab.Options{Delay: delay})
	n := l.Node("node1")
	prepare(t, n, "eth1", node1Eth1, "10.19.16.1", 2)
	began := time.Now()
	ip := assign(t, n, l.VPC.ENIs(n.InstanceID)[1].ID, 1)[0]
	if took := time.Since(began); took >= delay {
		t.Errorf("the API answered after %v, not at once", took)
	}
	if !arrives(t, l, ip, "eth1", patience) {
		t.Errorf("%s never came in", ip)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("the network followed after %v, before the delay of %v", took, delay)
	}
}
