//go:build !linux && !darwin && !freebsd

package wasmhost

import (
	"errors"
	"io/fs"
	"os/exec"
)

// openNonblock is not needed where there are no FIFOs.
const openNonblock = 0

func linkCount(fs.FileInfo) uint64 { return 1 }

// confine is not possible here, so no process is started.
func confine(*exec.Cmd) error { return errors.ErrUnsupported }

func endGroup(*exec.Cmd) error { return nil }

func signalOf(*exec.Cmd) int { return 0 }
