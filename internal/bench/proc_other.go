//go:build !linux

package main

import (
	"errors"
	"syscall"
	"time"
)

func endsWithUs() *syscall.SysProcAttr { return nil }

func cpuTime() (time.Duration, error) { return 0, errors.New("CPU time is measured on Linux only") }
