package main

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// zones has the rule that each zone's clock follows from now on and the zones that have it: 10 kB
// in place of the half megabyte of all that clocks ever did.
//
//go:embed zones.txt
var zones string

// zoneOf returns a time zone by its IANA name.
func zoneOf(name string) (*time.Location, error) {
	if name == "" || name == "UTC" {
		return time.UTC, nil
	}
	for _, line := range strings.Split(strings.TrimSpace(zones), "\n") {
		words := strings.Fields(line)
		for _, known := range words[1:] {
			if known == name {
				return time.LoadLocationFromTZData(name, byRule(words[0]))
			}
		}
	}
	return nil, fmt.Errorf("zone %q: want a name of the IANA database such as Europe/Oslo", name)
}

// byRule returns zone data (RFC 9636) that knows no past, only a rule for all times.
func byRule(rule string) []byte {
	var b []byte
	for range 2 { // the old form, and the one that is read
		b = append(append(b, "TZif2"...), make([]byte, 15)...)
		for _, n := range []uint32{0, 0, 0, 0, 1, 4} { // no leaps, no transitions, one kind of time, its name
			b = binary.BigEndian.AppendUint32(b, n)
		}
		b = append(b, 0, 0, 0, 0, 0, 0) // no offset: the rule says it
		b = append(b, "UTC\x00"...)
	}
	return append(b, "\n"+rule+"\n"...)
}
