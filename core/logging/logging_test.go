package logging

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/enichain/enichain/core/netconf"
)

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log, closer, err := Open(netconf.Log{File: path, Level: "warn"})
	if err != nil {
		t.Fatal(err)
	}
	log.Info("unseen")
	log.Warn("seen", "address", "10.0.0.1")
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var line struct {
		Msg, Address string
		PID          int
	}
	if err := json.Unmarshal(content, &line); err != nil || line.Msg != "seen" || line.Address != "10.0.0.1" || line.PID != os.Getpid() {
		t.Errorf("the log has %s: %v", content, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the log's mode: %v, %v", info, err)
	}
}

func TestOff(t *testing.T) {
	log, closer, err := Open(netconf.Log{Level: "nonsense"})
	if err != nil {
		t.Fatal(err)
	}
	log.Error("to nobody")
	if err := closer.Close(); err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	for name, conf := range map[string]netconf.Log{
		"no such level": {File: filepath.Join(dir, "log"), Level: "loud"}, "no such folder": {File: filepath.Join(dir, "a", "log")},
	} {
		if _, _, err := Open(conf); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}
