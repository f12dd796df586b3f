package vpcsim

import (
	"crypto/hmac"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// tc3 is the name of Tencent Cloud's signatures, and tc3Scope the end of their scope.
const (
	tc3      = "TC3-HMAC-SHA256"
	tc3Scope = "tc3_request"
)

// tc3Authorization is the header that signs a request ("Signature v3" of Tencent Cloud's API documents).
type tc3Authorization struct {
	key, date, service string
	signature          string
}

func parseTC3(header string) (tc3Authorization, error) {
	invalid := errorf("AuthFailure.InvalidAuthorization", "Request header `Authorization` does not conform to the Tencent Cloud standard.")
	rest, ok := strings.CutPrefix(header, tc3+" ")
	if !ok {
		return tc3Authorization{}, invalid
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	// More headers may be signed; the SDKs sign these two.
	if len(scope) != 4 || scope[3] != tc3Scope || fields["SignedHeaders"] != "content-type;host" || len(fields["Signature"]) != 64 {
		return tc3Authorization{}, invalid
	}
	return tc3Authorization{scope[0], scope[1], scope[2], fields["Signature"]}, nil
}

// verifyTC3 checks a request's signature as Tencent Cloud does, and returns the service that it was signed for.
func (v *VPC) verifyTC3(r *http.Request, body []byte) (service string, err error) {
	a, err := parseTC3(r.Header.Get("Authorization"))
	if err != nil {
		return "", err
	}
	stamp := r.Header.Get("X-TC-Timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return "", errorf("MissingParameter", "The request is missing a required parameter `Timestamp`.")
	}
	at := time.Unix(seconds, 0).UTC()
	if time.Since(at).Abs() > maxSkew {
		return "", errorf("AuthFailure.SignatureExpire", "The provided timestamp %s is more than 5 minutes off.", stamp)
	}
	secret, err := v.tc3Secret(a.key, r.Header.Get("X-TC-Token"))
	if err != nil {
		return "", err
	}
	if a.date != at.Format(time.DateOnly) || !hmac.Equal([]byte(tc3Signature(r, body, a, stamp, secret)), []byte(a.signature)) {
		return "", errorf("AuthFailure.SignatureFailure", "The provided credentials could not be validated. Please check your signature is correct.")
	}
	return a.service, nil
}

// tc3Secret returns the secret of a SecretId, with its token where it is a temporary one.
func (v *VPC) tc3Secret(key, token string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range []Credentials{v.keys, v.role} {
		switch {
		case c.AccessKeyID != key:
		case c.Token != token:
			return "", errorf("AuthFailure.TokenFailure", "The provided token is invalid.")
		default:
			return c.SecretAccessKey, nil
		}
	}
	return "", errorf("AuthFailure.SecretIdNotFound", "The SecretId is not found, please ensure that your SecretId is correct.")
}

func tc3Signature(r *http.Request, body []byte, a tc3Authorization, stamp, secret string) string {
	hash := hexHash(body)
	if r.Header.Get("X-TC-Content-SHA256") == "UNSIGNED-PAYLOAD" {
		hash = hexHash([]byte("UNSIGNED-PAYLOAD"))
	}
	lower := func(s string) string { return strings.ToLower(strings.TrimSpace(s)) }
	canonical := strings.Join([]string{
		r.Method, "/", r.URL.RawQuery,
		"content-type:" + lower(r.Header.Get("Content-Type")), "host:" + lower(r.Host), "", "content-type;host", hash,
	}, "\n")
	scope := a.date + "/" + a.service + "/" + tc3Scope
	key := []byte("TC3" + secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	toSign := strings.Join([]string{tc3, stamp, scope, hexHash([]byte(canonical))}, "\n")
	return hex.EncodeToString(mac(key, toSign))
}
