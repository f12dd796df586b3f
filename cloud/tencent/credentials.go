package tencent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/enichain/enichain/cloud"
)

// credential signs requests. token is set for temporary ones.
type credential struct {
	id, key, token string
	until          time.Time // zero for those that do not end
}

// refreshEarly is how long before their end credentials are replaced, as the SDKs do.
const refreshEarly = 5 * time.Minute

// credentials are the keys of the environment where there are any, and else those of the instance's CAM role. The SDK's own
// provider for roles knows neither time-outs nor another address of the metadata service.
type credentials struct {
	metadata *metadata
	static   bool

	mu   sync.Mutex
	held credential
}

func (c *credentials) init(m *metadata, getenv func(string) string) error {
	c.metadata = m
	id, key := getenv("TENCENTCLOUD_SECRET_ID"), getenv("TENCENTCLOUD_SECRET_KEY")
	if (id == "") != (key == "") {
		return &cloud.Error{Class: cloud.Auth, Message: "only one of TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY is set"}
	}
	if id != "" {
		c.static, c.held = true, credential{id: id, key: key, token: getenv("TENCENTCLOUD_TOKEN")}
	}
	return nil
}

// get returns credentials that are good for a call. Where the metadata service fails, old ones serve until their end.
func (c *credentials) get(ctx context.Context) (credential, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.static || time.Until(c.held.until) > refreshEarly {
		return c.held, nil
	}
	fresh, err := c.ofRole(ctx)
	switch {
	case err == nil:
		c.held = fresh
	case time.Until(c.held.until) <= 0:
		return credential{}, credentialsError(err)
	}
	return c.held, nil
}

// camDocument is what the metadata service tells of a role.
type camDocument struct {
	Code         string `json:"Code"`
	TmpSecretID  string `json:"TmpSecretId"`
	TmpSecretKey string `json:"TmpSecretKey"`
	Token        string `json:"Token"`
	ExpiredTime  int64  `json:"ExpiredTime"` // Unix time, in seconds
}

func (c *credentials) ofRole(ctx context.Context) (credential, error) {
	const folder = "cam/security-credentials"
	roles, err := c.metadata.list(ctx, folder)
	if err != nil {
		return credential{}, err
	}
	if len(roles) == 0 {
		return credential{}, errAbsent
	}
	text, err := c.metadata.read(ctx, folder+"/"+roles[0])
	if err != nil {
		return credential{}, err
	}
	var d camDocument
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return credential{}, errors.New("the metadata service's answer is no document of credentials") // err may quote it
	}
	until := time.Unix(d.ExpiredTime, 0)
	switch {
	case d.Code != "Success" || d.TmpSecretID == "" || d.TmpSecretKey == "":
		return credential{}, fmt.Errorf("the metadata service has no credentials of role %s: code %q", roles[0], d.Code)
	case time.Until(until) <= 0:
		return credential{}, fmt.Errorf("the credentials of role %s ended at %s; is this node's clock right?", roles[0], until.UTC().Format(time.RFC3339))
	}
	return credential{d.TmpSecretID, d.TmpSecretKey, d.Token, until}, nil
}

// credentialsError is for a metadata service that gave no credentials: there may be none, or no answer.
func credentialsError(err error) *cloud.Error {
	e := metadataError(err)
	if e.Class == cloud.Internal {
		e.Class = cloud.Auth
	}
	e.Message = "no credentials: TENCENTCLOUD_SECRET_ID is not set and the instance's CAM role gives none (is a role bound?): " + e.Message
	return e
}
