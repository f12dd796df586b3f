package cloud

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// binaryPrefix begins the name of every driver's binary.
const binaryPrefix = "eni-cloud-"

// FindDriver returns the path of a cloud's driver, "eni-cloud-" and the cloud's name, in the first folder of a CNI_PATH
// that has it. The error is an *Error of class Invalid.
func FindDriver(name, cniPath string) (string, error) {
	if !validName(name) {
		return "", &Error{Class: Invalid, Message: fmt.Sprintf("cloud %q is no name of a cloud: use a-z, 0-9 and '-'", name)}
	}
	binary := binaryPrefix + name
	for _, dir := range filepath.SplitList(cniPath) {
		if !filepath.IsAbs(dir) {
			continue // whatever the runtime's working folder happens to be, it holds no driver
		}
		path := filepath.Join(dir, binary)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", &Error{Class: Invalid, Message: fmt.Sprintf(
		"driver %s of cloud %q is in no folder of CNI_PATH (%s): install it there, or correct \"cloud\"", binary, name, cniPath)}
}

func validName(name string) bool {
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return name != "" && !strings.HasPrefix(name, "-")
}
