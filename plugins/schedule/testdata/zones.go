//go:build ignore

// Zones writes zones.txt: the rule of each time zone, as the zone data that comes with Go ends
// with it, and the names that have it. Run in plugins/schedule: go run testdata/zones.go
package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		log.Fatal(err)
	}
	z, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)), "lib/time/zoneinfo.zip"))
	if err != nil {
		log.Fatal(err)
	}
	names := map[string][]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			log.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			log.Fatal(err)
		}
		lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
		if rule := string(lines[len(lines)-1]); !strings.HasSuffix(f.Name, "/") && len(rule) < 64 {
			names[rule] = append(names[rule], f.Name)
		}
	}
	var out strings.Builder
	for _, rule := range slices.Sorted(maps.Keys(names)) {
		slices.Sort(names[rule])
		fmt.Fprintln(&out, rule, strings.Join(names[rule], " "))
	}
	if err := os.WriteFile("zones.txt", []byte(out.String()), 0o644); err != nil {
		log.Fatal(err)
	}
}
