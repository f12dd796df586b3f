package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"text/tabwriter"

	"github.com/enichain/enichain/test/lab"
)

// labView is what the holder tells of its lab.
type labView struct {
	Name     string        `json:"name"`
	Cloud    string        `json:"cloud"`
	IPv6     bool          `json:"ipv6,omitempty"`
	PID      int           `json:"pid"`
	Hosts    []hostView    `json:"hosts"`
	Loose    []eniView     `json:"loose,omitempty"` // ENIs that are attached to nothing
	Calls    int           `json:"calls"`           // of the cloud's API, to change something
	Spoofed  uint64        `json:"spoofed"`
	NoPublic uint64        `json:"noPublic"`
	Spoofers []lab.Spoofer `json:"spoofers"`
}

// hostView is a place that commands run in. Netns and Mounts are paths of its namespaces while the holder lives.
type hostView struct {
	Name       string    `json:"name"`
	InstanceID string    `json:"instanceID,omitempty"` // of a node
	Netns      string    `json:"netns"`
	Mounts     string    `json:"mounts"`
	Env        []string  `json:"env,omitempty"`
	ENIs       []eniView `json:"enis,omitempty"`
}

type eniView struct {
	ID        string       `json:"id"`
	Link      string       `json:"link,omitempty"`
	State     string       `json:"state"`
	MAC       string       `json:"mac"`
	Subnet    netip.Prefix `json:"subnet"`
	Primary   netip.Addr   `json:"primary"`
	Secondary []netip.Addr `json:"secondary,omitempty"`

	Prefixes []netip.Prefix `json:"prefixes,omitempty"`

	// Of IPv6, in a lab that has it.
	Subnet6    netip.Prefix   `json:"subnet6,omitzero"`
	Primary6   netip.Addr     `json:"primary6,omitzero"`
	Secondary6 []netip.Addr   `json:"secondary6,omitempty"`
	Prefixes6  []netip.Prefix `json:"prefixes6,omitempty"`
}

// call asks the lab's holder for something: in and out are its JSON, where they are not nil.
func (s state) call(method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(context.Background(), method, "http://lab"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", s.socket())
		},
	}}
	response, err := client.Do(request)
	if err != nil {
		if s.isUp() {
			return fmt.Errorf("lab %s does not answer%s: %w", s.name, s.holder(), err)
		}
		return fmt.Errorf("lab %s is not up; enilab up -name %s", s.name, s.name)
	}
	defer func() { _ = response.Body.Close() }() // it is read below
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read the answer of lab %s: %w", s.name, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", strings.TrimSpace(string(answer)))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

func (s state) view() (labView, error) {
	var v labView
	err := s.call(http.MethodGet, "/lab", nil, &v)
	return v, err
}

func viewByName(name string) (labView, error) {
	s, err := stateOf(name)
	if err != nil {
		return labView{}, err
	}
	return s.view()
}

// host finds a place by what people call it: "node1", "vpc", "internet", or "node1/c1" for a container of a node.
func (v labView) host(name string) (hostView, string, error) {
	place, container, _ := strings.Cut(name, "/")
	var names []string
	for _, h := range v.Hosts {
		if h.Name == place && (container == "" || h.InstanceID != "") {
			return h, container, nil
		}
		names = append(names, h.Name)
	}
	return hostView{}, "", fmt.Errorf("lab %s has no %q; it has %s", v.Name, name, strings.Join(names, ", "))
}

// open opens a place by what people call it.
func (v labView) open(name string) (*lab.Host, hostView, error) {
	found, container, err := v.host(name)
	if err != nil {
		return nil, hostView{}, err
	}
	h, err := lab.OpenHost(name, found.Netns, found.Mounts, container)
	return h, found, err
}

// show prints what there is in the lab.
func show(args []string, stdout io.Writer) error {
	set, name := flags("show")
	asJSON := set.Bool("json", false, "print JSON")
	if err := noOperands(set, args); err != nil {
		return err
	}
	v, err := viewByName(*name)
	if err != nil {
		return err
	}
	if *asJSON {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(v)
	}
	return v.print(stdout)
}

func (v labView) print(w io.Writer) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "lab %s: a VPC of %s, held by process %d\n\n", v.Name, v.Cloud, v.PID)
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "HOST\tLINK\tADDRESS\tSUBNET\tMAC\tENI\tSECONDARY ADDRESSES")
	for _, h := range append(v.Hosts, hostView{Name: "-", ENIs: v.Loose}) {
		for _, e := range h.ENIs {
			link := e.Link
			if link == "" {
				link = "(" + e.State + ")"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.Name, link, e.Primary, e.Subnet, e.MAC, e.ID, words(e.Prefixes, e.Secondary))
			if e.Subnet6.IsValid() {
				fmt.Fprintf(table, "\t\t%s\t%s\t\t\t%s\n", known(e.Primary6), e.Subnet6, words(e.Prefixes6, e.Secondary6))
			}
		}
	}
	fmt.Fprintln(table, "internet\teth0\t198.51.100.10\t198.51.100.0/24")
	if v.IPv6 {
		fmt.Fprintln(table, "\t\t2001:db8:100::10\t2001:db8:100::/64")
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&out, "\ndropped: %d with a spoofed source, %d to the internet from an address that is not public\n", v.Spoofed, v.NoPublic)
	for _, s := range v.Spoofers {
		fmt.Fprintf(&out, "  %s sent %d as %s\n", s.Port, s.Packets, s.Source)
	}
	fmt.Fprintf(&out, "calls that changed something: %d\n", v.Calls)
	_, err := out.WriteTo(w)
	return err
}

// known is an address that need not be there.
func known(ip netip.Addr) string {
	if !ip.IsValid() {
		return "-"
	}
	return ip.String()
}

// words joins prefixes and addresses, as many as a table has room for.
func words(prefixes []netip.Prefix, ips []netip.Addr) string {
	const room = 4
	var s []string
	for _, p := range prefixes {
		s = append(s, p.String())
	}
	for _, ip := range ips {
		s = append(s, ip.String())
	}
	if len(s) > room {
		return fmt.Sprintf("%s and %d more", strings.Join(s[:room], " "), len(s)-room)
	}
	return strings.Join(s, " ")
}
