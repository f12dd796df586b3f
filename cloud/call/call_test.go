package call_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/enichain/enichain/cloud"
	"github.com/enichain/enichain/cloud/call"
)

func TestWhatIsRepeated(t *testing.T) {
	for class, want := range map[cloud.Class]struct{ read, change int }{
		cloud.Throttled:   {2, 2},
		cloud.Unreachable: {2, 1},
		cloud.Internal:    {2, 1},
		cloud.Quota:       {1, 1},
		cloud.Auth:        {1, 1},
	} {
		for name, tt := range map[string]struct {
			call func(context.Context, func(context.Context) *cloud.Error) error
			want int
		}{"read": {call.Read, want.read}, "change": {call.Change, want.change}} {
			t.Run(name+" "+string(class), func(t *testing.T) {
				t.Parallel()
				made := 0
				err := tt.call(t.Context(), func(context.Context) *cloud.Error {
					if made++; made > 1 {
						return nil
					}
					return &cloud.Error{Class: class}
				})
				if made != tt.want || (err == nil) != (tt.want > 1) {
					t.Errorf("%d attempts, error %v; want %d", made, err, tt.want)
				}
			})
		}
	}
}

// What took the time is told, and not only that it is over.
func TestTheTimeIsOver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	err := call.Read(ctx, func(ctx context.Context) *cloud.Error {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("an attempt has no end")
		}
		if n++; n == 1 {
			return &cloud.Error{Class: cloud.Throttled, Code: "RequestLimitExceeded", Message: "too many"}
		}
		cancel()
		return &cloud.Error{Class: cloud.Unreachable, Message: "no answer in time"}
	})
	if err == nil || err.Error() != "no answer in time; before that: RequestLimitExceeded: too many" {
		t.Errorf("error: %v", err)
	}
}

func TestSleepEndsBeforeItBegins(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if call.Sleep(ctx, 2*time.Hour) {
		t.Error("there is time left")
	}
	p := call.Poll{}
	if cancel(); p.Wait(ctx) || !errors.Is(ctx.Err(), context.Canceled) {
		t.Error("a poll outlasts its context")
	}
}

func TestRedact(t *testing.T) {
	got := call.Redact("a+b=c and a%2Bb%3Dc, "+strings.Repeat("é", 4000), "a+b=c", "")
	if !strings.HasPrefix(got, "[secret] and [secret], é") || len(got) > 2100 || !strings.HasSuffix(got, "é...") {
		t.Errorf("redacted: %d bytes, %.40q", len(got), got)
	}
}

// A change that was refused is settled only once what was made for it is gone, or is there for good.
func TestUndone(t *testing.T) {
	refused := &cloud.Error{Class: cloud.Quota, Message: "too many"}
	for undoing, want := range map[cloud.Class]cloud.Class{
		"": cloud.Quota, cloud.Auth: cloud.Quota, cloud.Unreachable: cloud.Unreachable, cloud.Throttled: cloud.Throttled,
	} {
		var failed error
		if undoing != "" {
			failed = &cloud.Error{Class: undoing, Message: "stays"}
		}
		err := call.Undone(refused, failed)
		if class := cloud.ClassOf(err); class != want || strings.Contains(err.Error(), "stays") != (failed != nil) {
			t.Errorf("undoing fails as %q: class %s, want %s: %v", undoing, class, want, err)
		}
	}
}
