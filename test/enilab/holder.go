package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/vpcsim"
)

// holder is the process that has a lab. Other processes reach it by HTTP over a Unix socket that only root may open.
type holder struct {
	state   state
	lock    *os.File
	options lab.Options // as the lab was asked for
	lab     *lab.Lab

	server  *http.Server
	once    sync.Once
	asked   chan struct{} // closed when somebody asked for the lab's end
	serving sync.WaitGroup
}

func (h *holder) serve(ctx context.Context) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "unix", h.state.socket())
	if err != nil {
		return fmt.Errorf("listen for commands: %w", err)
	}
	mux := http.NewServeMux()
	for pattern, answer := range map[string]func(*http.Request) (any, error){
		"GET /lab":                       h.view,
		"POST /nodes/{node}/netns":       h.addNetns,
		"DELETE /nodes/{node}/netns/{n}": h.delNetns,
		"POST /trouble":                  h.inject,
		"DELETE /trouble":                h.endTrouble,
		"POST /meddle":                   h.askedToMeddle,
		"POST /down":                     h.askedDown,
	} {
		mux.Handle(pattern, handler(answer))
	}
	h.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	h.serving.Go(func() { _ = h.server.Serve(listener) }) // ends at close
	return nil
}

// handler answers with JSON, or with the error's text and a status of 500.
type handler func(*http.Request) (any, error)

func (fn handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := fn(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(answer) // who asked notices a broken connection
}

// close takes the lab down and removes its folder.
func (h *holder) close() error {
	var errs []error
	if h.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		errs = append(errs, h.server.Shutdown(ctx)) // lets the answer to "down" out
		h.serving.Wait()
	}
	if h.lab != nil {
		errs = append(errs, h.lab.Down())
	}
	return errors.Join(append(errs, h.state.remove(), h.lock.Close())...)
}

func (h *holder) askedDown(*http.Request) (any, error) {
	h.once.Do(func() { close(h.asked) })
	return nil, nil
}

func (h *holder) node(r *http.Request) (*lab.Node, error) {
	name := r.PathValue("node")
	if n := h.lab.Node(name); n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("lab %s has no node %q; it has node1 to node%d", h.state.name, name, len(h.lab.Nodes))
}

func (h *holder) addNetns(r *http.Request) (any, error) {
	n, err := h.node(r)
	if err != nil {
		return nil, err
	}
	var name string
	if err := json.NewDecoder(r.Body).Decode(&name); err != nil {
		return nil, fmt.Errorf("read the name: %w", err)
	}
	return n.AddNetns(name)
}

func (h *holder) delNetns(r *http.Request) (any, error) {
	n, err := h.node(r)
	if err != nil {
		return nil, err
	}
	return nil, n.DelNetns(r.PathValue("n"))
}

func (h *holder) inject(r *http.Request) (any, error) {
	var w trouble
	if err := json.NewDecoder(r.Body).Decode(&w); err != nil {
		return nil, fmt.Errorf("read what to inject: %w", err)
	}
	return nil, w.tell(h.lab.VPC)
}

// endTrouble makes the cloud what it was when the lab came up.
func (h *holder) endTrouble(*http.Request) (any, error) {
	v := h.lab.VPC
	v.ClearFaults()
	v.SetDelays(vpcsim.Delays{Fabric: h.options.Delay})
	v.LagMetadata(0)
	v.StaleMetadata(false)
	v.SetENIQuota(0)
	v.EmptySubnets()
	return nil, nil
}

func (h *holder) askedToMeddle(r *http.Request) (any, error) {
	var o order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		return nil, fmt.Errorf("read what to do: %w", err)
	}
	return nil, h.meddle(o)
}

func (h *holder) view(*http.Request) (any, error) {
	spoofed, noPublic, err := h.lab.Drops()
	if err != nil {
		return nil, err
	}
	spoofers, err := h.lab.Spoofers()
	if err != nil {
		return nil, err
	}
	v := labView{
		Name: h.state.name, Cloud: h.options.Cloud, IPv6: h.options.IPv6, PID: os.Getpid(), Calls: h.lab.VPC.Calls(""),
		Spoofed: spoofed, NoPublic: noPublic, Spoofers: spoofers,
	}
	for _, e := range h.lab.VPC.AllENIs() {
		if e.InstanceID == "" {
			v.Loose = append(v.Loose, h.eni(e))
		}
	}
	for _, n := range h.lab.Nodes {
		host := viewOf(&n.Host)
		host.Env, host.InstanceID = n.Env(), n.InstanceID
		for _, e := range h.lab.VPC.ENIs(n.InstanceID) {
			host.ENIs = append(host.ENIs, h.eni(e))
		}
		v.Hosts = append(v.Hosts, host)
	}
	v.Hosts = append(v.Hosts, viewOf(h.lab.Router), viewOf(h.lab.Internet))
	return v, nil
}

func (h *holder) eni(e vpcsim.ENI) eniView {
	return eniView{
		ID: e.ID, Link: h.lab.Link(e.ID), State: string(e.State), MAC: e.MAC.String(), Subnet: e.Subnet,
		Primary: e.PrimaryIP, Secondary: e.Secondary, Prefixes: e.Prefixes,
		Subnet6: e.Subnet6, Primary6: e.PrimaryIP6, Secondary6: e.IPv6, Prefixes6: e.Prefixes6,
	}
}

func viewOf(h *lab.Host) hostView {
	return hostView{Name: h.Name, Netns: h.NetnsPath(), Mounts: h.MountPath()}
}
