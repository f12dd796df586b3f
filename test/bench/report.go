package bench

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

//go:embed benchmarks.md.tmpl
var page string

// Print writes the tables, for a terminal.
func (r *Results) Print(out io.Writer) error {
	var all []string
	for _, t := range r.tables() {
		all = append(all, t.text())
	}
	if w := r.warning(); w != "" {
		all = append(all, w+"\n")
	}
	_, err := io.WriteString(out, "\n"+strings.Join(all, "\n"))
	return err
}

// The files of Write.
const (
	pageFile = "benchmarks.md"
	plotFile = "benchmarks.svg"
)

// Write writes benchmarks.md and benchmarks.svg into a folder.
func (r *Results) Write(folder string) error {
	text, err := r.markdown()
	if err != nil {
		return err
	}
	for name, content := range map[string]string{pageFile: text, plotFile: r.plot()} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// markdown is the page.
func (r *Results) markdown() (string, error) {
	t, err := template.New(pageFile).Parse(page)
	if err != nil {
		return "", err
	}
	var tables []string
	all := r.tables()
	for _, t := range all {
		tables = append(tables, t.markdown())
	}
	last := len(tables) - 1
	var b strings.Builder
	err = t.Execute(&b, map[string]any{
		"Warning": r.warning(), "Bar": all[last].body(), "Tables": strings.Join(tables[:last], "\n"), "Machine": r.machine.String(),
		"Peers": r.peers, "Took": r.took.Round(time.Second).String(), "Plan": r.Plan, "Left": r.leftOut(), "Starts": r.delStarts,
		"First": r.Containers[0], "Last": r.Containers[len(r.Containers)-1], "Others": percent(r.others), "Stolen": percent(r.stolen),
	})
	return b.String(), err
}

// warning says where the figures are doubtful; "" where they are not.
func (r *Results) warning() string {
	if r.others+r.stolen <= busyShare {
		return ""
	}
	return fmt.Sprintf("The machine was busy: %s of its processors' time went to other programs and %s to other machines. These figures are "+
		"doubtful, also where they are ratios.", percent(r.others), percent(r.stolen))
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// leftOut says which layouts were not measured, and why.
func (r *Results) leftOut() []string {
	var all []string
	for _, l := range r.layouts {
		if l.refusal != nil {
			all = append(all, fmt.Sprintf("`%s` was not measured: %v.", l.name, l.refusal))
		}
	}
	return all
}

// String is the machine in a line.
func (m machine) String() string {
	return fmt.Sprintf("%s, %d processors, %.0f GB, Linux %s, %s, %s", m.cpu, m.cpus, float64(m.memory)/1e9, m.kernel, m.goVersion,
		m.when.Format("2 January 2006"))
}
