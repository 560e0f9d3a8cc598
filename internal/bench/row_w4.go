package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// knownAgents is the memory that a hub takes for each agent that it knows, connected or not:
// its core with 10,000 agents that hold a workflow and have reported, against one with 1,000,
// the process's own RSS each time. Beside it what the agents' rows take on the disk.
func knownAgents(b *bench) ([]line, error) {
	const few, many = 1000, 10_000
	each := func(of, ofMore float64) float64 { return max(0, ofMore-of) / (many - few) / 1024 }
	small, smallDisk, err := b.knowing("few", few)
	if err != nil {
		return nil, err
	}
	large, largeDisk, err := b.knowing("many", many)
	if err != nil {
		return nil, err
	}
	return []line{{
		"hub's memory for an agent that it knows", each(small, large), "KiB", "its rows on the disk",
		each(smallDisk, largeDisk), atMost(8),
	}}, nil
}

// knowing returns what a hub's core adds to this process's memory when it knows agents, and
// how long its books are, both in bytes.
func (b *bench) knowing(name string, agents int) (memory, disk float64, err error) {
	before, err := resident()
	if err != nil {
		return 0, 0, err
	}
	c, err := newCore(b, "knows-"+name, agents)
	if err != nil {
		return 0, 0, err
	}
	if _, err = c.deploy(); err == nil {
		memory, err = resident()
	}
	if err = closing(c.books, err); err != nil {
		return 0, 0, err
	}
	info, err := os.Stat(b.path("core-knows-" + name + "/books.db"))
	if err != nil {
		return 0, 0, err
	}
	return memory - before, float64(info.Size()), nil
}

// resident returns this process's memory without garbage, in bytes.
func resident() (float64, error) {
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(b))[1], 64)
	return pages * float64(os.Getpagesize()), err
}
