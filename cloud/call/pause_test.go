package call

import (
	"testing"
	"time"
)

// Pauses grow up to their bound, and are spread over all of their range.
func TestPause(t *testing.T) {
	for n, most := range []time.Duration{300, 600, 1200, 2400, 4800, 5000} {
		most *= time.Millisecond
		least, longest := time.Hour, time.Duration(0)
		for range 1000 {
			p := pause(n)
			least, longest = min(least, p), max(longest, p)
		}
		if least < backoffFirst/2 || longest >= backoffFirst/2+most || longest-least < most*9/10 {
			t.Errorf("after attempt %d: from %s to %s, want them spread over %s", n, least, longest, most)
		}
	}
}
