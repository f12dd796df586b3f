//go:build kube

package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
)

// api speaks to the API server in JSON.
type api struct {
	server string
	client *http.Client
}

func newAPI(server string, trust *tls.Config, dial func(ctx context.Context, network, address string) (net.Conn, error)) *api {
	return &api{server, &http.Client{Transport: &http.Transport{DialContext: dial, TLSClientConfig: trust}}}
}

func (a *api) close() { a.client.CloseIdleConnections() }

// object is what the tests read of a node, a pod or an event.
type object struct {
	Metadata struct {
		Name, UID, DeletionTimestamp string
		Labels                       map[string]string
	}
	Spec   struct{ NodeName string }
	Status struct {
		Phase      string
		PodIPs     []struct{ IP netip.Addr }
		Conditions []struct{ Type, Status string }
		// of a pod, whose ID changes when the container is made anew
		ContainerStatuses []struct{ ContainerID string }
	}
}

// list is a collection as it is at a version.
type list struct {
	Metadata struct{ ResourceVersion string }
	Items    []object
}

// get reads an object; into may be nil.
func (a *api) get(ctx context.Context, path string, into any) error {
	return a.do(ctx, http.MethodGet, path, "", into)
}

// create makes an object of a manifest in JSON.
func (a *api) create(ctx context.Context, path, manifest string) error {
	return a.do(ctx, http.MethodPost, path, manifest, nil)
}

// do sends a request, and reads its answer where into is not nil. A patch is a merge patch.
func (a *api) do(ctx context.Context, method, path, body string, into any) error {
	answer, err := a.send(ctx, method, path, body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer func() { _ = answer.Close() }() // it has been read
	text, err := io.ReadAll(answer)
	if err != nil || into == nil {
		return err
	}
	if s, ok := into.(*string); ok {
		*s = string(text)
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s %s: %w: %s", method, path, err, text)
	}
	return nil
}

// send sends a request and returns the body of its answer; a status that is no success is an error.
func (a *api) send(ctx context.Context, method, path, body string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, method, a.server+path, bytes.NewBufferString(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		r.Header.Set("Content-Type", "application/merge-patch+json")
	}
	answer, err := a.client.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= http.StatusBadRequest {
		defer func() { _ = answer.Body.Close() }() // it has been read
		text, _ := io.ReadAll(answer.Body)         // part of a message at best
		return nil, fmt.Errorf("%s: %s", answer.Status, text)
	}
	return answer.Body, nil
}

// watch calls changed for each event of a collection since a version, until the API server ends it.
func (a *api) watch(ctx context.Context, path, version string, changed func(kind string, o object)) error {
	events, err := a.send(ctx, http.MethodGet, path+"?watch=true&resourceVersion="+version, "")
	if err != nil {
		return err
	}
	defer func() { _ = events.Close() }() // nothing more is wanted
	for decoder := json.NewDecoder(events); ; {
		var e struct {
			Type   string
			Object object
		}
		if err := decoder.Decode(&e); err != nil {
			return err
		}
		if e.Type == "ERROR" {
			return fmt.Errorf("watch %s: it is too old", path)
		}
		changed(e.Type, e.Object)
	}
}
