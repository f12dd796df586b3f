package supply

import (
	"testing"
	"time"
)

// Those whom the cloud throttles wait twice as long after each failure in a row, up to a bound, and not all as long.
func TestThrottledPauses(t *testing.T) {
	for attempts, longest := range map[int]time.Duration{
		1: 200 * time.Millisecond, 2: 400 * time.Millisecond, 5: 3200 * time.Millisecond, 9: restLongest, 1000: restLongest,
	} {
		seen := map[time.Duration]bool{}
		for range 50 {
			pause := throttledPause(attempts)
			if pause < longest/2 || pause >= longest {
				t.Errorf("after %d failures: %v, want %v to %v", attempts, pause, longest/2, longest)
			}
			seen[pause] = true
		}
		if len(seen) < 25 {
			t.Errorf("after %d failures: %d pauses of 50 are different", attempts, len(seen))
		}
	}
}
