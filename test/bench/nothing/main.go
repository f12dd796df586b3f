// Command nothing is a plugin that does nothing: a call of it takes what a process and the caller's own work take.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "nothing:", err)
		os.Exit(1)
	}
	fmt.Print(`{"cniVersion": "1.0.0"}`)
}
