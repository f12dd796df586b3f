package main

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/enichain/enichain/core/store"
)

// netnsInode identifies a network namespace beyond its path, which another container may get later; 0 where the path
// is not there.
func netnsInode(path string) uint64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return inodeOf(info)
}

// provablyDead says whether a container's network namespace is gone: its path is, or leads to another one.
func provablyDead(s store.Sandbox) bool {
	if s.Netns == "" || s.NetnsInode == 0 {
		return false
	}
	info, err := os.Stat(s.Netns)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	return inodeOf(info) != s.NetnsInode
}

func inodeOf(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ino
	}
	return 0
}
