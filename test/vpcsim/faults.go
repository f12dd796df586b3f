package vpcsim

import (
	"net/http"
	"slices"
	"time"
)

// IMDS is the Action of a Fault that hits the metadata service's GETs, and IMDSToken of one that hits its PUT.
const (
	IMDS      = "IMDS"
	IMDSToken = "IMDSToken"
)

// Fault makes calls fail, or only wait where neither Code, Status nor AfterEffect is set.
type Fault struct {
	Action  string // an API's action, IMDS, IMDSToken or Task; "" is every action of an API
	Code    string // the cloud's error code
	Status  int    // HTTP status; 400 where a Code is given and this is not
	Message string
	Times   int // how many calls it hits; 0 is one, negative all until ClearFaults
	// AfterEffect lets the work be done first. Without a Code or Status the connection is then closed with no answer.
	AfterEffect bool
	Delay       time.Duration // how long a call is held before anything else
}

// Inject adds a fault. Faults of the same action hit in the order in which they were injected.
func (v *VPC) Inject(f Fault) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if f.Times == 0 {
		f.Times = 1
	}
	v.faults = append(v.faults, &f)
}

// ClearFaults removes all faults, and the buckets of Throttle.
func (v *VPC) ClearFaults() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.faults, v.buckets = nil, nil
}

// fault returns what is to hit this call, and counts it; nil where nothing is.
func (v *VPC) fault(action string) *Fault {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.hit(action)
}

// hit is fault with mu held.
func (v *VPC) hit(action string) *Fault {
	api := action != IMDS && action != IMDSToken && action != Task
	n := slices.IndexFunc(v.faults, func(f *Fault) bool { return f.Action == action || f.Action == "" && api })
	if n < 0 {
		return nil
	}
	hit := *v.faults[n]
	if v.faults[n].Times--; v.faults[n].Times == 0 {
		v.faults = slices.Delete(v.faults, n, n+1)
	}
	return &hit
}

// wait holds the call, or ends early with its client.
func (f *Fault) wait(r *http.Request) {
	if f == nil || f.Delay == 0 {
		return
	}
	timer := time.NewTimer(f.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}

// err is the error that the fault answers, or nil where it answers none.
func (f *Fault) err() error {
	if f.Code == "" && f.Status == 0 {
		return nil
	}
	e := &APIError{Code: f.Code, Status: f.Status, Message: f.Message}
	if e.Status == 0 {
		e.Status = statusOf(f.Code)
	}
	if e.Message == "" {
		e.Message = "Injected failure."
	}
	return e
}
