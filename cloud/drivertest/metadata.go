package drivertest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/enichain/enichain/cloud"
)

// MetadataFailsAndHangs checks that a driver whose time is over while it repeats a call of the metadata service says what
// it repeated it for. connect returns the driver of a metadata service at the URL; service is that of a simulated cloud.
func MetadataFailsAndHangs(t *testing.T, service http.Handler, connect func(url string) cloud.Driver) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var gets atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet:
			service.ServeHTTP(w, r)
		case gets.Add(1) == 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			cancel()
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	_, err := connect(server.URL).Node(ctx)
	if cloud.ClassOf(err) != cloud.Unreachable || !strings.Contains(err.Error(), "before that: ") || !strings.Contains(err.Error(), "503") {
		t.Errorf("error of class %s: %v", cloud.ClassOf(err), err)
	}
}
