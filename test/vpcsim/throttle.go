package vpcsim

import "time"

// Bucket is a limit of the rate of calls, as the EC2 Developer Guide, "Request throttling", has them: a call takes a token,
// and one that finds none is answered with RequestLimitExceeded, which takes none.
type Bucket struct {
	Action    string  // an action of the API; "" is all of them together
	Burst     int     // how many tokens it holds, and begins with
	PerSecond float64 // how many come back
}

type bucket struct {
	Bucket
	tokens float64
	at     time.Time // when tokens was right
}

// Throttle adds a bucket. ClearFaults removes it.
func (v *VPC) Throttle(b Bucket) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.buckets = append(v.buckets, &bucket{b, float64(b.Burst), time.Now()})
}

// Throttled returns how many calls found no token.
func (v *VPC) Throttled() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.throttled
}

// admit takes a token for a call of the action from each bucket, or from none where one is empty.
func (v *VPC) admit(action string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	var taken []*bucket
	for _, b := range v.buckets {
		if b.Action != "" && b.Action != action {
			continue
		}
		now := time.Now()
		b.tokens = min(float64(b.Burst), b.tokens+b.PerSecond*now.Sub(b.at).Seconds())
		b.at = now
		if b.tokens < 1 {
			v.throttled++
			return false
		}
		taken = append(taken, b)
	}
	for _, b := range taken {
		b.tokens--
	}
	return true
}

// made is what a call with a client token made.
type made struct {
	request string // its parameters in one text
	id      string
}

// madeBy returns what an earlier call with the client token made. The same token with another request is an error.
func (v *VPC) madeBy(token, request string) (id string, found bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	m, found := v.requests[token]
	if token == "" || !found {
		return "", false, nil
	}
	if m.request != request {
		return "", false, errorf("IdempotentParameterMismatch", "The parameters of the request do not match those of the earlier request with client token %s.", token)
	}
	return m.id, true, nil
}

// remember keeps what a call with a client token made.
func (v *VPC) remember(token, request, id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if token != "" {
		v.requests[token] = made{request, id}
	}
}
