package vpcsim

import (
	"crypto/rand"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	tokenPath   = "/latest/api/token"
	tokenHeader = "X-Aws-Ec2-Metadata-Token"
	ttlHeader   = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	maxTTL      = 21600
)

// token is a session of the metadata service; it is worth nothing on another instance.
type token struct {
	instance string
	until    time.Time
}

// IMDS returns the handler of the metadata service for all instances: the caller's address says which one asks.
func (v *VPC) IMDS() http.Handler { return v.byCaller(v.serveIMDS) }

// byCaller returns the handler of a metadata service that tells instances apart by the caller's address.
func (v *VPC) byCaller(serve func(w http.ResponseWriter, r *http.Request, instanceID string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, ok := v.instanceAt(r.RemoteAddr)
		if !ok {
			http.Error(w, "no instance has the address "+r.RemoteAddr, http.StatusNotFound)
			return
		}
		serve(w, r, id)
	})
}

// IMDSFor returns the handler of one instance's metadata service, whoever asks.
func (v *VPC) IMDSFor(instanceID string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { v.serveIMDS(w, r, instanceID) })
}

// instanceAt returns the instance that holds the address of a "host:port".
func (v *VPC) instanceAt(hostport string) (string, bool) {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return "", false
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "", false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range v.enis {
		if e.InstanceID != "" && (e.PrimaryIP == ip.Unmap() || slices.Contains(e.held().all(), ip.Unmap()) || e.has6(ip)) {
			return e.InstanceID, true
		}
	}
	return "", false
}

func (v *VPC) serveIMDS(w http.ResponseWriter, r *http.Request, instanceID string) {
	w.Header().Set("Server", "EC2ws")
	w.Header().Set("Content-Type", "text/plain")
	kind := IMDS
	if r.Method == http.MethodPut {
		kind = IMDSToken
	}
	if fault := v.fault(kind); fault != nil {
		fault.wait(r)
		if fault.AfterEffect {
			panic(http.ErrAbortHandler)
		}
		if fault.Status != 0 {
			refuse(w, fault.Status)
			return
		}
	}
	switch r.Method {
	case http.MethodPut:
		v.issueToken(w, r, instanceID)
	case http.MethodGet, http.MethodHead:
		v.serveMetadata(w, r, instanceID)
	default:
		refuse(w, http.StatusMethodNotAllowed)
	}
}

func refuse(w http.ResponseWriter, status int) {
	http.Error(w, strconv.Itoa(status)+" - "+http.StatusText(status), status)
}

func (v *VPC) issueToken(w http.ResponseWriter, r *http.Request, instanceID string) {
	ttl, err := strconv.Atoi(r.Header.Get(ttlHeader))
	switch {
	case r.URL.Path != tokenPath:
		refuse(w, http.StatusNotFound)
		return
	case r.Header.Get("X-Forwarded-For") != "": // somebody's open proxy asks
		refuse(w, http.StatusForbidden)
		return
	case err != nil || ttl < 1 || ttl > maxTTL:
		refuse(w, http.StatusBadRequest)
		return
	}
	id := base64.StdEncoding.EncodeToString([]byte(rand.Text() + rand.Text()[:16]))
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	for old, t := range v.tokens {
		if now.After(t.until) {
			delete(v.tokens, old)
		}
	}
	v.tokens[id] = token{instanceID, now.Add(time.Duration(ttl) * time.Second)}
	w.Header().Set(ttlHeader, strconv.Itoa(ttl))
	_, _ = w.Write([]byte(id))
}

func (v *VPC) serveMetadata(w http.ResponseWriter, r *http.Request, instanceID string) {
	left, ok := v.tokenLeft(r.Header.Get(tokenHeader), instanceID)
	if !ok {
		refuse(w, http.StatusUnauthorized)
		return
	}
	tree, err := v.metadata(instanceID)
	if err != nil {
		refuse(w, http.StatusNotFound)
		return
	}
	text, ok := lookUp(tree, strings.Trim(r.URL.Path, "/"))
	if !ok {
		refuse(w, http.StatusNotFound)
		return
	}
	w.Header().Set(ttlHeader, strconv.Itoa(int(left.Seconds())))
	_, _ = w.Write([]byte(text))
}

func (v *VPC) tokenLeft(id, instanceID string) (time.Duration, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	t, ok := v.tokens[id]
	left := time.Until(t.until)
	return left, ok && t.instance == instanceID && left > 0
}
