package cnierr

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
)

func TestNew(t *testing.T) {
	delegated := &types.Error{Code: 11, Msg: "no address is free", Details: "retry"}
	bare := &types.Error{Code: 11, Msg: "no address is free"}
	tests := []struct {
		name string
		err  error
		want error
	}{
		{"nil stays nil", nil, nil},
		{"a plain error", errors.New("boom"), &types.Error{Code: 5, Msg: "boom", Details: "hint"}},
		{"joined errors go on one line", errors.Join(errors.New("a"), errors.New("b")), &types.Error{Code: 5, Msg: "a; b", Details: "hint"}},
		{
			"a delegated plugin's code and hint survive, with the context around it",
			fmt.Errorf("attach c: %w", delegated), &types.Error{Code: 11, Msg: "attach c: no address is free", Details: "retry"},
		},
		{
			"one without a hint takes ours",
			fmt.Errorf("attach c: %w", bare), &types.Error{Code: 11, Msg: "attach c: no address is free", Details: "hint"},
		},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, New(5, tt.err, "hint")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// go-cni forgets a container whose DEL failed with one of these texts (go-cni, cni.go, Remove).
func TestForDelHasNoWordThatRuntimesTakeForSuccess(t *testing.T) {
	err := ForDel(5, errors.Join(fs.ErrNotExist, fmt.Errorf("open /x: %w", errors.New("no such file or directory")),
		errors.New("plugin not found")), "it was not found")
	want := &types.Error{
		Code: 5, Msg: "file does not exist; open /x: path is missing; plugin missing", Details: "it was missing",
	}
	if diff := cmp.Diff(error(want), err); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if ForDel(5, nil, "hint") != nil {
		t.Error("nil became an error")
	}
}
