package sysinfo

import (
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/mem"

	"github.com/stavily/stavily/protocol"
)

// Device returns what this machine is; what cannot be found out stays empty. version
// is the agent's.
func Device(version string, labels map[string]string) protocol.Device {
	d := protocol.Device{
		Platform: Platform(), Engine: Engine(runtime.GOARCH), Version: version,
		Cores: uint32(runtime.NumCPU()), Labels: labels,
	}
	if kernel, err := host.KernelVersion(); err == nil {
		d.Kernel = kernel
	}
	if m, err := mem.VirtualMemory(); err == nil {
		d.MemoryMB = uint32(m.Total >> 20)
	}
	return d
}

// Platform returns the name of the platform that this program was built for, as in
// firmware-targets: linux-arm64, linux-armv7.
func Platform() string {
	arm := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "GOARM" {
				arm = s.Value
			}
		}
	}
	return platformOf(runtime.GOOS, runtime.GOARCH, arm)
}

// platformOf builds the name. goarm is as the toolchain writes it, "7" or
// "6,softfloat"; without one it is what the toolchain builds by default.
func platformOf(goos, goarch, goarm string) string {
	if goarch != "arm" {
		return goos + "-" + goarch
	}
	level, _, _ := strings.Cut(goarm, ",")
	if level == "" {
		level = "7"
	}
	return goos + "-armv" + level
}

// Engine returns how WebAssembly runs on an architecture: wazero has compilers for two.
func Engine(goarch string) string {
	if goarch == "amd64" || goarch == "arm64" {
		return "compiler"
	}
	return "interpreter"
}
