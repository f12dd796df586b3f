package lab_test

import (
	"bytes"
	"net/http"
	"os"
	"testing"

	"github.com/enichain/enichain/test/lab"
	"github.com/enichain/enichain/test/vpcsim"
)

// Tencent Cloud's metadata service is at its own address and known by its name, without a token; AWS's is not there.
func TestTencentLab(t *testing.T) {
	l := up(t, lab.Options{Cloud: vpcsim.TencentCloud})
	for _, n := range l.Nodes {
		status, body := fetch(t, client(t, n), request(t, http.MethodGet, "http://169.254.0.23/latest/meta-data/instance-id", ""))
		if status != http.StatusOK || string(body) != n.InstanceID {
			t.Errorf("%s: the metadata service says %q with status %d, want %s", n.Name, body, status, n.InstanceID)
		}
		var hosts []byte
		if err := n.Do(func() (err error) {
			hosts, err = os.ReadFile("/etc/hosts")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(hosts, []byte("169.254.0.23 metadata.tencentyun.com\n")) {
			t.Errorf("%s: /etc/hosts begins with %.60q", n.Name, hosts)
		}
		h, err := n.Handle()
		if err != nil {
			t.Fatal(err)
		}
		link, err := h.LinkByName("eth1")
		h.Close()
		if err != nil || link.Attrs().MTU != 1500 {
			t.Errorf("%s: eth1: %+v, error %v", n.Name, link, err)
		}
	}
	if hosts, err := os.ReadFile("/etc/hosts"); err == nil && bytes.Contains(hosts, []byte("tencentyun")) {
		t.Error("the machine's own /etc/hosts was written to")
	}
	r := request(t, http.MethodPost, "http://10.19.255.10/", "{}")
	if status, body := fetch(t, client(t, l.Nodes[0]), r); status != http.StatusOK || !bytes.Contains(body, []byte(`"AuthFailure.InvalidAuthorization"`)) {
		t.Errorf("an unsigned call: status %d: %s", status, body)
	}
}
