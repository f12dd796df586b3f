package netconf

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Attachment is an entry of "cni.dev/valid-attachments" (CNI specification 1.1.0, GC).
type Attachment struct {
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}

// ValidAttachments reads a GC's list of valid attachments from its configuration. An absent list, which given tells
// apart, says nothing of any attachment; null and [] say that none is valid (CRI-O sends null with no pods).
func ValidAttachments(stdin []byte) (valid map[Attachment]bool, given bool, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(stdin, &fields); err != nil {
		return nil, false, fmt.Errorf("read configuration: %w", err)
	}
	// libcni sends the old spelling too (libcni/api.go, GCNetworkList).
	list, given := fields["cni.dev/valid-attachments"]
	if !given {
		list, given = fields["cni.dev/attachments"]
	}
	if !given {
		return nil, false, nil
	}
	var attachments []Attachment
	if err := json.Unmarshal(list, &attachments); err != nil {
		return nil, false, fmt.Errorf("read cni.dev/valid-attachments: %w", err)
	}
	valid = make(map[Attachment]bool, len(attachments))
	for _, a := range attachments {
		valid[a] = true
	}
	return valid, true, nil
}

// Arg returns the value of a key in CNI_ARGS ("K=V;K=V"), or "". Other keys are none of our business: runtimes send
// their own, in any order, and values may hold a '='.
func Arg(cniArgs, key string) string {
	for pair := range strings.SplitSeq(cniArgs, ";") {
		if k, v, ok := strings.Cut(pair, "="); ok && k == key {
			return v
		}
	}
	return ""
}
