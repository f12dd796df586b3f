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
	return set(attachments), true, nil
}

// liveAttachments is the key under which eni-ptp tells eni-ipam, in a GC without a list, which attachments it has proof of.
const liveAttachments = "enichain/live-attachments"

// WithLive adds to a GC's configuration that attachments live, whatever else is known of them.
func WithLive(stdin []byte, live []Attachment) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(stdin, &fields); err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	list, err := json.Marshal(live)
	if err != nil {
		return nil, err
	}
	fields[liveAttachments] = list
	return json.Marshal(fields)
}

// Live reads what WithLive added.
func Live(stdin []byte) (map[Attachment]bool, error) {
	var told struct {
		Live []Attachment `json:"enichain/live-attachments"`
	}
	if err := json.Unmarshal(stdin, &told); err != nil {
		return nil, fmt.Errorf("read %s: %w", liveAttachments, err)
	}
	return set(told.Live), nil
}

func set(attachments []Attachment) map[Attachment]bool {
	in := make(map[Attachment]bool, len(attachments))
	for _, a := range attachments {
		in[a] = true
	}
	return in
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
