package tencent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/call"
)

// The metadata service ("Viewing instance metadata" of the CVM documents): its name, and its address for a node whose
// resolver is not up.
const (
	metadataHost    = "metadata.tencentyun.com"
	metadataAddress = "169.254.0.23"
)

// The patience with the metadata service, which sits on the same machine.
const (
	metadataDial     = time.Second
	metadataAnswer   = 2 * time.Second
	metadataAttempts = 3
	metadataBackoff  = 200 * time.Millisecond
	maxMetadata      = 1 << 20 // bytes of an answer
)

// errAbsent says that the metadata service has no such key.
var errAbsent = errors.New("the metadata service answers 404")

// metadata is the client of the metadata service. It never uses a proxy: that would be told this machine's credentials,
// and would answer with its own.
type metadata struct {
	base   *url.URL
	client *http.Client
}

func newMetadata(base *url.URL) *metadata {
	dialer := &net.Dialer{Timeout: metadataDial}
	return &metadata{base, &http.Client{Transport: &http.Transport{
		Proxy:                 nil,
		ResponseHeaderTimeout: metadataAnswer,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			var unresolved *net.DNSError
			if errors.As(err, &unresolved) && address == metadataHost+":80" {
				return dialer.DialContext(ctx, network, metadataAddress+":80")
			}
			return c, err
		},
	}}}
}

// read returns a key's text, or an error that is errAbsent where there is no such key. A failure that may pass is tried
// again; the last one before the time was over is told.
func (m *metadata) read(ctx context.Context, path string) (string, error) {
	var before error
	for n := 0; ; n++ {
		text, again, err := m.get(ctx, path)
		if err == nil {
			return text, nil
		}
		if ctx.Err() != nil && before != nil {
			err = fmt.Errorf("%w; before that: %w", err, before)
		}
		if !again || n == metadataAttempts-1 || !call.Sleep(ctx, metadataBackoff) {
			return "", fmt.Errorf("metadata %s: %w", path, err)
		}
		before = err
	}
}

// get makes one attempt, and says whether another may help.
func (m *metadata) get(ctx context.Context, path string) (text string, again bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, m.base.JoinPath("latest/meta-data", path).String(), nil)
	if err != nil {
		return "", false, err
	}
	answer, err := m.client.Do(r)
	if err != nil {
		return "", ctx.Err() == nil, err
	}
	defer func() { _ = answer.Body.Close() }() // it is read below
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxMetadata))
	switch {
	case err != nil:
		return "", true, err
	case answer.StatusCode == http.StatusNotFound:
		return "", false, errAbsent
	case answer.StatusCode != http.StatusOK:
		return "", answer.StatusCode >= 500, statusError(answer.StatusCode)
	}
	return strings.TrimSpace(string(body)), false, nil
}

// statusError is an HTTP status that is no answer.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("the metadata service answers %d", int(s)) }

// metadataError says what kind of failure of the metadata service this was: no answer, or a useless one.
func metadataError(err error) *cloud.Error {
	class := cloud.Internal
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		class = cloud.Unreachable
	}
	return &cloud.Error{Class: class, Message: err.Error()}
}

// list returns a folder's children, without their slashes.
func (m *metadata) list(ctx context.Context, path string) ([]string, error) {
	text, err := m.read(ctx, path+"/")
	var names []string
	for _, line := range strings.Fields(text) {
		names = append(names, strings.TrimSuffix(line, "/"))
	}
	return names, err
}

// place is the VPC that an ENI is in.
type place struct {
	vpc string
	eni cloud.ENI
}

// eni reads what there is of the ENI with the MAC, whose case is the service's.
func (m *metadata) eni(ctx context.Context, mac string) (place, error) {
	folder := "network/interfaces/macs/" + mac + "/"
	texts := map[string]string{"primary-local-ipv4": "", "vpc-id": "", "subnet-id": ""}
	for key := range texts {
		text, err := m.read(ctx, folder+key)
		if err != nil {
			return place{}, err
		}
		texts[key] = text
	}
	primary, err := netip.ParseAddr(texts["primary-local-ipv4"])
	if err != nil {
		return place{}, fmt.Errorf("metadata %sprimary-local-ipv4: %w", folder, err)
	}
	p := place{texts["vpc-id"], cloud.ENI{MAC: strings.ToLower(mac), SubnetID: texts["subnet-id"], PrimaryIP: primary}}
	if p.eni.Addresses, err = m.addresses(ctx, folder+"local-ipv4s", primary); err != nil {
		return place{}, err
	}
	p.eni.Subnet, p.eni.Gateway, err = m.subnet(ctx, folder+"local-ipv4s/"+primary.String()+"/", primary)
	return p, err
}

// addresses reads the addresses of a folder but the primary one.
func (m *metadata) addresses(ctx context.Context, folder string, primary netip.Addr) ([]netip.Addr, error) {
	names, err := m.list(ctx, folder)
	if err != nil {
		return nil, err
	}
	var secondary []netip.Addr
	for _, name := range names {
		ip, err := netip.ParseAddr(name)
		if err != nil {
			return nil, fmt.Errorf("metadata %s: %w", folder, err)
		}
		if ip != primary {
			secondary = append(secondary, ip)
		}
	}
	return secondary, nil
}

// subnet makes a subnet's range of an address and its mask, and reads its gateway, which a user may have moved.
func (m *metadata) subnet(ctx context.Context, folder string, ip netip.Addr) (subnet netip.Prefix, gateway netip.Addr, err error) {
	text, err := m.read(ctx, folder+"subnet-mask")
	if err != nil {
		return subnet, gateway, err
	}
	mask, err := netip.ParseAddr(text)
	if err != nil {
		return subnet, gateway, fmt.Errorf("metadata %ssubnet-mask: %w", folder, err)
	}
	bits, size := net.IPMask(mask.AsSlice()).Size()
	if size != ip.BitLen() {
		return subnet, gateway, fmt.Errorf("metadata %ssubnet-mask: %s is no mask", folder, mask)
	}
	if text, err = m.read(ctx, folder+"gateway"); err != nil {
		return subnet, gateway, err
	}
	if gateway, err = netip.ParseAddr(text); err != nil {
		return subnet, gateway, fmt.Errorf("metadata %sgateway: %w", folder, err)
	}
	return netip.PrefixFrom(ip, bits).Masked(), gateway, nil
}
