package call

import (
	"errors"

	"github.com/enichain/enichain/cloud"
)

// Undone is the error of a change that the cloud refused, and of which undoing what was made for it may have failed too. Where
// the undoing may yet succeed, it has that failure's class: the change is then no settled one, and who repeats it, by the same
// token, finds what was left behind.
func Undone(refused, undoing error) error {
	var e *cloud.Error
	if undoing == nil || !errors.As(refused, &e) {
		return errors.Join(refused, undoing)
	}
	told := *e
	told.Message += "; it was left behind, since it could not be deleted either: " + undoing.Error()
	if class := cloud.ClassOf(undoing); class.Ambiguous() || class == cloud.Throttled {
		told.Class = class
	}
	return &told
}
