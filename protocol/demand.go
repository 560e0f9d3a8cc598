package protocol

import (
	"fmt"
	"strings"
)

// Overcommit is how often the limits of all that an agent runs may have what its device has:
// not all of them are used up at one time. 0 does not look.
type Overcommit struct {
	Memory float64 `cbor:"1,keyasint" json:"memory"`
	CPU    float64 `cbor:"2,keyasint" json:"cpu"`
}

// DefaultOvercommit takes memory eight times: a plugin that says nothing may have 64 MB and
// uses two to five, and the device's host holds all of them together to half of its memory.
// Processors, which only make plugins wait, it takes sixteen times.
func DefaultOvercommit() Overcommit { return Overcommit{Memory: 8, CPU: 16} }

// Demands sums what all that a desired document has run asks of its device (M-17, M-18): the
// limits of its steps, and what they keep on its disk. Hub and agent sum by the same. The zero
// value is ready.
type Demands struct {
	MemoryMB int64   `json:"memory_mb"`
	Cores    float64 `json:"cores"`
	FilesB   int64   `json:"files_b"` // releases and artifacts, each file once
	KVB      int64   `json:"kv_b"`    // what plugins may put by

	by    []demand
	files map[Digest]bool
}

// demand is the part of one workflow.
type demand struct {
	workflow WorkflowName
	memoryMB int64
	cores    float64
}

// Step adds a step with its limits, if the agent itself runs it.
func (d *Demands) Step(workflow WorkflowName, s *Step) {
	if s.Place != nil {
		return
	}
	at := len(d.by) - 1
	for at >= 0 && d.by[at].workflow != workflow {
		at--
	}
	if at < 0 {
		d.by, at = append(d.by, demand{workflow: workflow}), len(d.by)
	}
	d.by[at].memoryMB += int64(s.Limits.MemoryMB)
	d.by[at].cores += s.Limits.CPUCores
	d.MemoryMB += int64(s.Limits.MemoryMB)
	d.Cores += s.Limits.CPUCores
	for _, g := range s.Grants {
		if g.Capability == CapKV {
			d.KVB += KVBytesMax
			return
		}
	}
}

// File adds a file that the agent keeps.
func (d *Demands) File(name Digest, size int64) {
	if d.files == nil {
		d.files = map[Digest]bool{}
	}
	if !d.files[name] {
		d.files[name] = true
		d.FilesB += size
	}
}

// StorageMB returns what is kept on the disk, in MiB, rounded up.
func (d *Demands) StorageMB() int64 { return (d.FilesB + d.KVB + 1<<20 - 1) >> 20 }

// Within reports whether no sum of d is above the one of o.
func (d *Demands) Within(o *Demands) bool {
	return d.MemoryMB <= o.MemoryMB && d.Cores <= o.Cores && d.StorageMB() <= o.StorageMB()
}

// Beyond says which sum a device does not have, and how it comes together; empty when it has
// all. What a device has not said is not looked at.
func (d *Demands) Beyond(of *Device, times Overcommit) string {
	each := func(of func(demand) string) string {
		parts := make([]string, len(d.by))
		for i, w := range d.by {
			parts[i] = string(w.workflow) + " " + of(w)
		}
		return strings.Join(parts, ", ")
	}
	switch {
	case of.MemoryMB > 0 && times.Memory > 0 && float64(d.MemoryMB) > float64(of.MemoryMB)*times.Memory:
		return fmt.Sprintf("max_memory_mb: %d MB wanted, it has %d MB, to be promised %g times: %s", d.MemoryMB,
			of.MemoryMB, times.Memory, each(func(w demand) string { return fmt.Sprint(w.memoryMB) }))
	case of.Cores > 0 && times.CPU > 0 && d.Cores > float64(of.Cores)*times.CPU:
		return fmt.Sprintf("max_cpu_cores: %.4g wanted, it has %d, to be promised %g times: %s", d.Cores,
			of.Cores, times.CPU, each(func(w demand) string { return fmt.Sprintf("%.4g", w.cores) }))
	case of.StorageMB > 0 && d.StorageMB() > int64(of.StorageMB):
		return fmt.Sprintf("storage: %d MB wanted, it has %d MB: %d kB of releases and artifacts, %d kB of kv",
			d.StorageMB(), of.StorageMB, d.FilesB>>10, d.KVB>>10)
	}
	return ""
}

// Text says the sums, and beside them what the device has.
func (d *Demands) Text(of *Device, times Overcommit) string {
	has := func(n uint32, times float64) string {
		switch {
		case n == 0:
			return "of an unknown number"
		case times == 0 || times == 1:
			return fmt.Sprintf("of %d", n)
		}
		return fmt.Sprintf("of %d promised %g times", n, times)
	}
	return fmt.Sprintf("memory %d MB %s, cores %.4g %s, storage %d MB %s", d.MemoryMB,
		has(of.MemoryMB, times.Memory), d.Cores, has(of.Cores, times.CPU), d.StorageMB(), has(of.StorageMB, 1))
}
