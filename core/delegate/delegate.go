// Package delegate runs another plugin on behalf of this one, with this one's environment and configuration (CNI
// specification 1.1.0, "Section 4: Plugin Delegation"). libcni's pkg/invoke does the same, but brings net/http along by
// way of OpenTelemetry (1.3.1, pkg/invoke/raw_exec.go), which would double a plugin's size.
package delegate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
)

var (
	// ErrResult says that a plugin succeeded, but its result cannot be read.
	ErrResult = errors.New("unreadable result")
	// ErrType says that a plugin's type cannot be one, and ErrMissing that the plugin is not installed.
	ErrType    = errors.New("is not the name of a file in CNI_PATH")
	ErrMissing = errors.New("is in none of the folders of CNI_PATH")
)

// maxStderr is how much of a failed plugin's stderr goes into the error where it printed no error itself.
const maxStderr = 1000

// Plugin is another plugin, to be found along CNI_PATH.
type Plugin struct {
	Type   string
	Path   string // CNI_PATH
	Config []byte // the whole network configuration
}

// Add runs ADD and returns the result in today's form. A failure that the plugin reported is a *types.Error within err;
// what it did before ErrResult is not undone.
func (p Plugin) Add(ctx context.Context) (*types100.Result, error) {
	stdout, err := p.run(ctx, "ADD")
	if err != nil {
		return nil, err
	}
	result, err := p.decode(stdout)
	if err != nil {
		return nil, fmt.Errorf("%s ADD: %w: %w", p.Type, ErrResult, err)
	}
	return result, nil
}

// Run runs a verb that has no result.
func (p Plugin) Run(ctx context.Context, verb string) error {
	_, err := p.run(ctx, verb)
	return err
}

// decode reads a result; one without a version has that of the configuration.
func (p Plugin) decode(stdout []byte) (*types100.Result, error) {
	var answered map[string]any
	var asked types.NetConf
	if err := errors.Join(json.Unmarshal(stdout, &answered), json.Unmarshal(p.Config, &asked)); err != nil {
		return nil, err
	}
	if v, _ := answered["cniVersion"].(string); v == "" {
		answered["cniVersion"] = asked.CNIVersion
		var err error
		if stdout, err = json.Marshal(answered); err != nil {
			return nil, err
		}
	}
	result, err := create.CreateFromBytes(stdout)
	if err != nil {
		return nil, err
	}
	return types100.NewResultFromResult(result)
}

func (p Plugin) run(ctx context.Context, verb string) ([]byte, error) {
	file, err := p.find()
	if err != nil {
		return nil, err
	}
	// A killed plugin takes what it runs with it: left alone, an ADD would take an address after the runtime's DEL, or a DEL
	// release it after another ADD. The death signal is bound to the thread that forked.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, file)
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+verb)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(p.Config), &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w", p.Type, verb, reported(err, stdout.Bytes(), stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// reported returns the error that a plugin printed, or what else is known of its failure.
func reported(err error, stdout, stderr []byte) error {
	said := &types.Error{}
	if json.Unmarshal(stdout, said) == nil && said.Msg != "" {
		return said
	}
	text := strings.TrimSpace(string(append(stdout, stderr...)))
	if len(text) > maxStderr {
		text = text[:maxStderr] + "..."
	}
	return fmt.Errorf("%w, saying %q", err, text)
}

// Identity names the plugin's file as it is now: another program, of whatever version, has another. It is "" where there is none.
func (p Plugin) Identity() string {
	file, err := p.find()
	if err != nil {
		return ""
	}
	var at syscall.Stat_t
	if err := syscall.Stat(file, &at); err != nil {
		return ""
	}
	return fmt.Sprintf("%s %d/%d %d %d", file, at.Dev, at.Ino, at.Size, at.Mtim.Nano())
}

// find returns the plugin's file.
func (p Plugin) find() (string, error) {
	if p.Type == "" || strings.ContainsRune(p.Type, os.PathSeparator) {
		return "", fmt.Errorf("plugin type %q %w", p.Type, ErrType)
	}
	for _, dir := range filepath.SplitList(p.Path) {
		file := filepath.Join(dir, p.Type)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file, nil
		}
	}
	return "", fmt.Errorf("plugin %s %w (%s), which has /opt/cni/bin as a rule", p.Type, ErrMissing, p.Path)
}
