package demo

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// screen prints for people, in colours where out is a terminal. It keeps the first error of writing.
type screen struct {
	out    io.Writer
	colour bool
	err    error
}

func newScreen(out io.Writer) *screen {
	s := &screen{out: out}
	if f, ok := out.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		s.colour = err == nil && os.Getenv("NO_COLOR") == ""
	}
	return s
}

func (s *screen) printf(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.out, format, args...)
	}
}

// title begins a part.
func (s *screen) title(format string, args ...any) {
	s.printf("\n%s\n\n", s.paint("1", fmt.Sprintf(format, args...)))
}

func (s *screen) good(text string) string { return s.paint("32", text) }
func (s *screen) bad(text string) string  { return s.paint("1;31", text) }

// paint sets text in a rendition of ECMA-48 ("SGR").
func (s *screen) paint(rendition, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + rendition + "m" + text + "\x1b[0m"
}
