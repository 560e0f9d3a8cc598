// Package native runs plugins as processes in a sandbox of the operating system, for code
// that WebAssembly cannot run, on full servers. It is the second carrier of the
// conversation of wasmhost/ABI.md: the same requests, the same answers, the same life of a
// plugin, and host calls answered by the same code (wasmhost.Host.LoadIn).
//
// A plugin's process sees nothing of the machine. It has its own user, process, mount,
// network, IPC, UTS and cgroup namespaces; its root is a folder in memory with the
// unpacked artifact, read-only, a small writable /tmp, four devices, and what its language
// needs of libraries, read-only; it has no capability and can gain none; a filter lets
// only the system calls of its language through and those that its manifest names and
// that are harmless in there. Cgroups hold its memory, CPU and processes. It reaches other
// machines, files and programs by host calls only.
//
// The set-up is done by the agent's own program, started again as the first process of
// the jail (Child), which then becomes the plugin.
//
// What a kernel cannot enforce is told: Confinement has a line for each promise of the
// manifest and each layer of the jail, and Config.Need says which of them a plugin is
// refused without.
//
// It runs on linux/amd64, linux/arm64 and linux/riscv64. Elsewhere there is nothing but
// the report's types.
package native
