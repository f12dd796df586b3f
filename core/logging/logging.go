// Package logging opens a plugin's log: structured, off by default, and never on stdout, which belongs to the result.
package logging

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/enichain/enichain/core/netconf"
)

// Open returns the log that the configuration asks for, and what closes it. Without a file nothing is
// logged; nor with an error, which a DEL has to do without.
func Open(conf netconf.Log) (*slog.Logger, io.Closer, error) {
	none := slog.New(slog.DiscardHandler)
	if conf.File == "" {
		return none, io.NopCloser(nil), nil
	}
	level := slog.LevelInfo
	if conf.Level != "" {
		if err := level.UnmarshalText([]byte(conf.Level)); err != nil {
			return none, io.NopCloser(nil), fmt.Errorf("log level: %w", err)
		}
	}
	file, err := os.OpenFile(conf.File, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return none, io.NopCloser(nil), fmt.Errorf("open log: %w", err)
	}
	handler := slog.NewJSONHandler(file, &slog.HandlerOptions{Level: level})
	return slog.New(handler).With("pid", os.Getpid()), file, nil
}
