package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// restProgram lets go of the pages of the program itself, of which a start needs three times
// what the agent then needs: they count as its memory, for whoever looks and for the kernel that
// seeks a process to end. They stay in the page cache, and those that are needed are mapped again
// at once. It does nothing where it cannot tell which they are.
func restProgram() {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil || !fixed("/proc/self/exe") {
		return
	}
	for _, r := range programRanges(maps, exe) {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, r.at, r.size, unix.MADV_DONTNEED) // advice: as it is else
	}
}

// The head of an ELF file, as far as it is looked at: ELF specification, figure 1-3.
const (
	elfMagic = "\x7fELF"
	elfData  = 5 // where the order of bytes stands, and its value for the high one first
	elfHigh  = 2
	elfType  = 16 // where the type stands, of two bytes, and its value for a fixed program
	elfFixed = 2
)

// fixed reports whether a program is loaded where it was linked to be: then none of its read-only
// pages was written to at its start, and what is let go comes back as it was.
func fixed(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, elfType+2)
	if _, err := io.ReadFull(f, head); err != nil || !bytes.HasPrefix(head, []byte(elfMagic)) {
		return false
	}
	low, high := head[elfType], head[elfType+1]
	if head[elfData] == elfHigh {
		low, high = high, low
	}
	return low == elfFixed && high == 0
}

// pages is a range of addresses.
type pages struct{ at, size uintptr }

// programRanges returns where the file exe stands in memory, to be read and not to be written.
func programRanges(maps []byte, exe string) (all []pages) {
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		f := strings.Fields(lines.Text()) // from-to rwxp offset device inode path
		if len(f) != 6 || f[5] != exe || len(f[1]) != 4 || f[1][0] != 'r' || f[1][1] != '-' || f[1][3] != 'p' {
			continue
		}
		from, to, _ := strings.Cut(f[0], "-")
		first, err := strconv.ParseUint(from, 16, strconv.IntSize)
		if err != nil {
			continue
		}
		end, err := strconv.ParseUint(to, 16, strconv.IntSize)
		if err == nil && first < end {
			all = append(all, pages{uintptr(first), uintptr(end - first)})
		}
	}
	return all
}
