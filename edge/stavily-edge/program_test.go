//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestProgramRanges(t *testing.T) {
	const maps = `00400000-00970000 r-xp 00000000 fe:00 4718641    /opt/stavily-edge
00970000-00ee0000 r--p 00570000 fe:00 4718641    /opt/stavily-edge
00ee0000-00f41000 rw-p 00ae0000 fe:00 4718641    /opt/stavily-edge
00f41000-02f86000 rw-p 00000000 00:00 0
7f8c6e8e0000-7f8c6eb00000 r--p 00000000 fe:00 99    /opt/stavily-edge.old
7f8c6eb00000-7f8c6ec00000 r--s 00000000 fe:00 4718641    /opt/stavily-edge
zz-00f41000 r--p 00ae0000 fe:00 4718641    /opt/stavily-edge
00f41000-00ee0000 r--p 00ae0000 fe:00 4718641    /opt/stavily-edge
7ffc5b7f5000-7ffc5b816000 rw-p 00000000 00:00 0    [stack]
`
	want := []pages{{0x400000, 0x570000}, {0x970000, 0x570000}}
	if got := programRanges([]byte(maps), "/opt/stavily-edge"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// Only a program at the place that it was linked for is let go: the read-only pages of another one
// were written to when it was loaded.
func TestFixed(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		head string
		want bool
	}{
		"fixed":                  {"\x7fELF\x02\x01\x01" + zeros(9) + "\x02\x00", true},
		"fixed, high byte first": {"\x7fELF\x01\x02\x01" + zeros(9) + "\x00\x02", true},
		"at any place":           {"\x7fELF\x02\x01\x01" + zeros(9) + "\x03\x00", false},
		"cut":                    {"\x7fELF\x02\x01\x01" + zeros(9) + "\x02", false},
		"none":                   {"#!/bin/sh\n" + zeros(6) + "\x02\x00", false},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(c.head), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := fixed(file); got != c.want {
			t.Errorf("%s: fixed %v, want %v", name, got, c.want)
		}
	}
	if fixed(filepath.Join(dir, "nothing")) {
		t.Error("no file is fixed")
	}
}

func zeros(n int) string { return strings.Repeat("\x00", n) }

// What is let go is there again when it is needed, this test first of all.
func TestRestProgram(t *testing.T) {
	if !fixed("/proc/self/exe") {
		t.Skip("this test is not linked as the agent is")
	}
	before := resident(t)
	restProgram()
	if after := resident(t); after > before*3/4 {
		t.Errorf("%d pages are resident, %d before", after, before)
	}
}

// resident returns how many pages of files this process holds.
func resident(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(strings.Fields(string(text))[2], &n); err != nil {
		t.Fatal(err)
	}
	return n
}
