package main

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/stavily/stavily/edge"
)

// storageStep is to what the storage is rounded down, in MiB, so that what a log writes beside
// the agent is no news.
const storageStep = 16

// storageMB returns what the disk under state has for artifacts and for what plugins put by: what
// is free, with the artifacts that are here, less what records may take, but at least the half
// of it. 0: not known.
func storageMB(state string, c *edge.Config) uint32 {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(state, &fs); err != nil {
		return 0
	}
	room := int64(fs.Bavail) * int64(fs.Bsize) //nolint:unconvert // as wide as the platform says
	all, err := os.ReadDir(filepath.Join(state, "files"))
	if err != nil && !os.IsNotExist(err) {
		return 0
	}
	for _, e := range all {
		if info, err := e.Info(); err == nil {
			room += info.Size()
		}
	}
	records := int64(0)
	for _, n := range c.LaneBytes {
		records += n
	}
	room = max(room-records, room/2) >> 20
	return uint32(min(max(room/storageStep*storageStep, 1), 1<<30))
}
