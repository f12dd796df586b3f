// Package about says which build of enichain a binary is.
package about

import "fmt"

// Version is set by the linker in a release (see Makefile).
var Version = "unreleased" //nolint:gochecknoglobals // -ldflags -X sets variables only

// Plugin is what a plugin prints when it is run by hand.
func Plugin(name string) string {
	return fmt.Sprintf("%s of enichain %s: a CNI plugin, to be run by a container runtime", name, Version)
}
