package delegate_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/enichain/enichain/core/delegate"
)

// plugin makes a plugin of a shell script.
func plugin(t *testing.T, script, config string) delegate.Plugin {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "other"), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return delegate.Plugin{Type: "other", Path: "/no/such/folder:" + dir, Config: []byte(config)}
}

func TestAdd(t *testing.T) {
	t.Setenv("CNI_COMMAND", "CHECK") // the caller's own, which gives way
	t.Setenv("CNI_CONTAINERID", "c1")
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) {
			config := `{"cniVersion":"` + version + `","name":"net"}`
			p := plugin(t, `[ "$CNI_COMMAND $CNI_CONTAINERID" = "ADD c1" ] && [ "$(cat)" = '`+config+`' ] || exit 1
				echo '{"ips":[{"version":"4","address":"10.0.0.5/24"}]}'`, config)
			result, err := p.Add(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if len(result.IPs) != 1 || result.IPs[0].Address.String() != "10.0.0.5/24" {
				t.Errorf("unexpected result: %v", result)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	const config = `{"cniVersion":"1.1.0"}`
	tests := []struct {
		name   string
		plugin delegate.Plugin
		want   string
		code   uint
		result bool
	}{
		{name: "its own error", plugin: plugin(t, `echo '{"code":11,"msg":"later","details":"why"}'; echo noise >&2; exit 1`, config), want: "other ADD: later; why", code: 11},
		{name: "no error printed", plugin: plugin(t, "echo broken >&2; exit 3", config), want: `other ADD: exit status 3, saying "broken"`},
		{name: "killed", plugin: plugin(t, "kill -9 $$", config), want: "other ADD: signal: killed"},
		{name: "much noise", plugin: plugin(t, "head -c 100000 /dev/zero | tr '\\0' x; exit 1", config), want: `x..."`},
		{name: "an unreadable result", plugin: plugin(t, "echo nonsense", config), want: "other ADD: unreadable result", result: true},
		{name: "a result of an unknown version", plugin: plugin(t, `echo '{"cniVersion":"9.0.0"}'`, config), want: "unreadable result", result: true},
		{name: "missing", plugin: delegate.Plugin{Type: "missing", Path: t.TempDir()}, want: "plugin missing is in none of the folders of CNI_PATH"},
		{name: "a path", plugin: delegate.Plugin{Type: "../other"}, want: `plugin type "../other" is not the name of a file`},
		{name: "no name", plugin: delegate.Plugin{}, want: `plugin type "" is not`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.plugin.Add(context.Background())
			if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, delegate.ErrResult) != tt.result {
				t.Fatalf("unexpected error: %v", err)
			}
			if len(err.Error()) > 2000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			var said *types.Error
			if errors.As(err, &said) != (tt.code != 0) || said != nil && said.Code != tt.code {
				t.Errorf("unexpected code in %v", err)
			}
		})
	}
	if err := plugin(t, `[ "$CNI_COMMAND" = DEL ]`, config).Run(context.Background(), "DEL"); err != nil {
		t.Error(err)
	}
}
