package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// execIn replaces this process by a command inside a host. With a node's environment it finds the plugins' tools.
func execIn(args []string, _ io.Writer) error {
	set, name := flags("exec")
	if err := set.Parse(args); err != nil {
		return flag.ErrHelp // the flag package has told already
	}
	command := set.Args()
	if len(command) > 1 && command[1] == "--" {
		command = append(command[:1:1], command[2:]...)
	}
	if len(command) < 2 {
		return errors.New("exec needs a host and a command: enilab exec node1 -- ip route")
	}
	v, err := viewByName(*name)
	if err != nil {
		return err
	}
	host, found, err := v.open(command[0])
	if err != nil {
		return err
	}
	folder, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := host.Enter(); err != nil { // the main thread, which main never leaves
		return err
	}
	if err := os.Chdir(folder); err != nil && !errors.Is(err, os.ErrNotExist) { // entering the mounts led to /
		return err
	}
	return replace(command[1:], found.Env)
}

// replace is execve(2), with variables beside the process's own.
func replace(command, env []string) error {
	for _, variable := range append(env, "PATH="+os.Getenv("PATH")+":/opt/cni/bin") {
		key, value, _ := strings.Cut(variable, "=")
		if err := os.Setenv(key, value); err != nil {
			return err
		}
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	if err := syscall.Exec(path, command, os.Environ()); err != nil {
		return fmt.Errorf("run %s: %w", path, err)
	}
	return nil
}

// printEnv prints what exec sets, for a shell to eval.
func printEnv(args []string, stdout io.Writer) error {
	set, name := flags("env")
	found, err := operands(set, args)
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return errors.New("env needs a node: enilab env node1")
	}
	v, err := viewByName(*name)
	if err != nil {
		return err
	}
	host, _, err := v.host(found[0])
	if err != nil {
		return err
	}
	for _, variable := range host.Env {
		key, value, _ := strings.Cut(variable, "=")
		if _, err := fmt.Fprintf(stdout, "export %s='%s'\n", key, strings.ReplaceAll(value, "'", `'\''`)); err != nil {
			return err
		}
	}
	return nil
}

// netns makes or removes a container's network namespace.
func netns(args []string, stdout io.Writer) error {
	set, lab := flags("netns")
	found, err := operands(set, args)
	if err != nil {
		return err
	}
	if len(found) != 3 || found[1] != "add" && found[1] != "del" {
		return errors.New("netns needs a node, add or del, and a name: enilab netns node1 add c1")
	}
	s, err := stateOf(*lab)
	if err != nil {
		return err
	}
	node, name := found[0], found[2]
	if found[1] == "del" {
		return s.call(http.MethodDelete, "/nodes/"+url.PathEscape(node)+"/netns/"+url.PathEscape(name), nil, nil)
	}
	var path string
	if err := s.call(http.MethodPost, "/nodes/"+url.PathEscape(node)+"/netns", name, &path); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, path)
	return err
}
