package vpcsim

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Credentials sign requests. Token is set for those of an instance's role only.
type Credentials struct {
	AccessKeyID, SecretAccessKey, Token string
}

// newCredentials have the characters in them that a URL has to escape.
func newCredentials(prefix, token string) Credentials {
	return Credentials{prefix + rand.Text()[:16], rand.Text() + "/" + rand.Text()[:12] + "+", token}
}

func newToken() string { return rand.Text() + "/" + rand.Text() + "+" + rand.Text() + "==" }

// Keys returns the access keys of a user, which need no session token.
func (v *VPC) Keys() Credentials { return v.keys }

// Role returns the credentials that the metadata service hands out.
func (v *VPC) Role() Credentials {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.role
}

// SetRole names the role that the metadata service hands credentials out for; "" takes the role from the instances.
func (v *VPC) SetRole(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.roleName = name
}

// RotateRole replaces the role's credentials by others that are good for so long, as the cloud does now and then; the old
// ones are refused from then on.
func (v *VPC) RotateRole(lifetime time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	prefix := v.role.AccessKeyID[:4]
	v.role, v.roleEnds = newCredentials(prefix, newToken()), time.Now().Add(lifetime).UTC()
}

// roleUntil is when the role's credentials end; mu is held.
func (v *VPC) roleUntil() time.Time {
	if v.roleEnds.IsZero() {
		return time.Now().Add(6 * time.Hour).UTC()
	}
	return v.roleEnds
}

// timeFormat is the form of X-Amz-Date, and maxSkew how far it may be off.
const (
	timeFormat = "20060102T150405Z"
	maxSkew    = 5 * time.Minute
)

// authorization is the header that signs a request (IAM User Guide, "AWS Signature Version 4 for API requests").
type authorization struct {
	key, scope string // the scope is DATE/REGION/ec2/aws4_request
	headers    []string
	signature  string
}

func parseAuthorization(header string) (authorization, error) {
	rest, ok := strings.CutPrefix(header, "AWS4-HMAC-SHA256 ")
	if !ok {
		return authorization{}, errorf("MissingAuthenticationToken", "The request must be signed with AWS4-HMAC-SHA256.")
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	a := authorization{headers: strings.Split(fields["SignedHeaders"], ";"), signature: fields["Signature"]}
	a.key, a.scope, _ = strings.Cut(fields["Credential"], "/")
	if a.key == "" || strings.Count(a.scope, "/") != 3 || len(a.signature) != 64 ||
		!slices.Contains(a.headers, "host") || !slices.Contains(a.headers, "x-amz-date") || !slices.IsSorted(a.headers) {
		return authorization{}, errorf("IncompleteSignature", "The request signature does not conform to AWS standards.")
	}
	return a, nil
}

// verify checks a request's signature as EC2 does.
func (v *VPC) verify(r *http.Request, body []byte) error {
	a, err := parseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		return err
	}
	secret, err := v.secret(a.key, r.Header.Get("X-Amz-Security-Token"))
	if err != nil {
		return err
	}
	date := r.Header.Get("X-Amz-Date")
	at, err := time.Parse(timeFormat, date)
	if err != nil {
		return errorf("IncompleteSignature", "Date must be in ISO-8601 'basic format'.")
	}
	if time.Since(at).Abs() > maxSkew {
		return errorf("RequestExpired", "Request has expired. Timestamp date is %s", date)
	}
	scope := strings.Split(a.scope, "/")
	if scope[0] != date[:8] || scope[1] != v.region || scope[2] != "ec2" || scope[3] != "aws4_request" {
		return errorf("AuthFailure", "Credential should be scoped to a valid region, service and date.")
	}
	if r.Header.Get("X-Amz-Security-Token") != "" && !slices.Contains(a.headers, "x-amz-security-token") {
		return errorf("IncompleteSignature", "The security token must be signed.")
	}
	if !hmac.Equal([]byte(signature(r, body, a, date, secret)), []byte(a.signature)) {
		return errorf("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
	}
	return nil
}

// secret returns the secret of an access key, with its session token where it needs one.
func (v *VPC) secret(key, token string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range []Credentials{v.keys, v.role} {
		if c.AccessKeyID == key && c.Token == token {
			return c.SecretAccessKey, nil
		}
	}
	return "", errorf("AuthFailure", "AWS was not able to validate the provided access credentials")
}

func signature(r *http.Request, body []byte, a authorization, date, secret string) string {
	var canonical strings.Builder
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	canonical.WriteString(r.Method + "\n" + path + "\n" + canonicalQuery(r.URL.Query()) + "\n")
	for _, name := range a.headers {
		canonical.WriteString(name + ":" + headerValue(r, name) + "\n")
	}
	canonical.WriteString("\n" + strings.Join(a.headers, ";") + "\n" + hexHash(body))
	toSign := "AWS4-HMAC-SHA256\n" + date + "\n" + a.scope + "\n" + hexHash([]byte(canonical.String()))
	key := []byte("AWS4" + secret)
	for part := range strings.SplitSeq(a.scope, "/") {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, toSign))
}

func headerValue(r *http.Request, name string) string {
	switch name {
	case "host": // net/http takes it out of the headers
		return r.Host
	case "content-length":
		return r.Header.Get("Content-Length")
	}
	values := slices.Clone(r.Header.Values(name))
	for n, s := range values {
		values[n] = strings.Join(strings.Fields(s), " ")
	}
	return strings.Join(values, ",")
}

func canonicalQuery(q url.Values) string { return strings.ReplaceAll(q.Encode(), "+", "%20") }

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
