// Package cnierr makes the errors that a CNI plugin prints: a code of the specification, what failed, and a hint.
// Build one at the outermost frame only: skel prints the innermost *types.Error and drops what was wrapped around it.
package cnierr

import (
	"errors"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
)

// Codes of the CNI specification 1.1.0, section "Error", and enichain's own, which start at 100.
const (
	Environment   = types.ErrInvalidEnvironmentVariables
	IO            = types.ErrIOFailure
	Decode        = types.ErrDecodingFailure
	Config        = types.ErrInvalidNetworkConfig
	InvalidNetns  = types.ErrInvalidNetNS
	TryAgainLater = types.ErrTryAgainLater
	NotAvailable  = types.ErrPluginNotAvailable

	// RequestedAddress: the address that was asked for cannot be given.
	RequestedAddress uint = 100
	// Kernel: the kernel refused a link, an address, a route, a rule or an nftables object.
	Kernel uint = 101
	// Cloud: the cloud or its driver failed in a way that a retry will not cure.
	Cloud uint = 102
	// Check: CHECK found something missing or different.
	Check uint = 103
)

// New returns a CNI error with err's text as msg and the hint as details. A *types.Error within err keeps its own code
// and hint, so that a delegated plugin's diagnosis reaches the runtime; only its message gains the context around it.
// It returns nil for a nil err.
func New(code uint, err error, hint string) error {
	if err == nil {
		return nil
	}
	var inner *types.Error
	if errors.As(err, &inner) {
		code = inner.Code
		if inner.Details != "" {
			hint = inner.Details
		}
		// types.Error prints "msg; details": the details have a field of their own here.
		return &types.Error{Code: code, Msg: oneLine(strings.Replace(err.Error(), inner.Error(), inner.Msg, 1)), Details: hint}
	}
	return &types.Error{Code: code, Msg: oneLine(err.Error()), Details: hint}
}

// oneLine puts joined errors, which errors.Join writes one a line, behind one another: runtimes show messages in a line.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "; ") }

// ForDel returns err for a DEL. go-cni reads "not found" and "no such file or directory" in a DEL's error as success
// and forgets the container, so those words are put differently.
func ForDel(code uint, err error, hint string) error {
	made := New(code, err, hint)
	var e *types.Error
	if !errors.As(made, &e) {
		return made
	}
	for old, safe := range map[string]string{"not found": "missing", "no such file or directory": "path is missing"} {
		e.Msg = strings.ReplaceAll(e.Msg, old, safe)
		e.Details = strings.ReplaceAll(e.Details, old, safe)
	}
	return e
}
