package tencent_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The policy of the docs permits the calls that the driver makes, and no other.
func TestPolicyOfTheDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/cloud-driver.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)<!-- cam-policy -->\n```json\n(.*?)```").FindSubmatch(text)
	var policy struct{ Statement []struct{ Action []string } }
	if err := json.Unmarshal(found[1], &policy); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var made []string
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, call := range regexp.MustCompile(`a\.(vpc|cvm)\.(\w+)WithContext\(`).FindAllSubmatch(source, -1) {
			made = append(made, string(call[1])+":"+string(call[2]))
		}
	}
	permitted := policy.Statement[0].Action
	slices.Sort(made)
	slices.Sort(permitted)
	if d := cmp.Diff(slices.Compact(made), permitted); d != "" {
		t.Errorf("calls (-made +permitted):\n%s", d)
	}
}
