//go:build kube

package kube

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority signs the cluster's certificates, and writes them as files to a folder.
type authority struct {
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// pair is the files of a certificate and its key.
type pair struct{ cert, key string }

func newAuthority(dir string) (*authority, error) {
	a := &authority{dir: dir}
	template := certificate("ca")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage |= x509.KeyUsageCertSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a.key = key
	files, err := a.write("ca", template, template, key)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(files.cert)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	a.cert, err = x509.ParseCertificate(block.Bytes)
	return a, err
}

// file is the authority's own certificate.
func (a *authority) file() string { return filepath.Join(a.dir, "ca.crt") }

// issue makes a certificate for a client or a server; the groups are what Kubernetes reads as organizations.
func (a *authority) issue(name string, groups []string, ips ...net.IP) (pair, error) {
	template := certificate(name)
	template.Subject.Organization = groups
	template.IPAddresses = ips
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	return a.write(name, template, a.cert, key)
}

// write signs the certificate of a key and writes both.
func (a *authority) write(name string, template, parent *x509.Certificate, key *ecdsa.PrivateKey) (pair, error) {
	cert, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		return pair{}, err
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return pair{}, err
	}
	p := pair{cert: filepath.Join(a.dir, name+".crt"), key: filepath.Join(a.dir, name+".key")}
	return p, errors.Join(
		os.WriteFile(p.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(p.key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}), 0o600),
	)
}

// certificate is good for a day, and an hour ago, should a clock be set back.
func certificate(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // crypto/rand does not fail
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

// kubeconfig writes how a client with that certificate reaches the API server.
func (a *authority) kubeconfig(server string, client pair) (string, error) {
	path := client.cert + ".kubeconfig"
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "lab",
		"clusters": [{"name": "lab", "cluster": {"server": %q, "certificate-authority": %q}}],
		"users": [{"name": "client", "user": {"client-certificate": %q, "client-key": %q}}],
		"contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "client"}}]}`,
		server, a.file(), client.cert, client.key)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// trust is how a client with that certificate speaks to the authority's servers.
func (a *authority) trust(client pair) (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(client.cert, client.key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{Certificates: []tls.Certificate{own}, RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}
