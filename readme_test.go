package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/workflow"
)

var fenced = regexp.MustCompile("(?s)```(\\w*)\n(.*?)```")

// TestReadme holds the commands and the workflow that the README shows to the program:
// each command exists and takes those flags, the workflow is one.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands, workflows := 0, 0
	for _, block := range fenced.FindAllStringSubmatch(string(text), -1) {
		if block[1] == "yaml" {
			workflows++
			if _, err := workflow.Parse("README.md", []byte(block[2])); err != nil {
				t.Error(err)
			}
		}
		for line := range strings.Lines(block[2]) {
			line, _, _ = strings.Cut(line, " #")
			args := strings.Fields(line)
			if len(args) < 2 || args[0] != "stavily" {
				continue
			}
			commands++
			cmd, rest, err := root().Find(args[1:])
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err == nil && cmd.Args != nil {
				err = cmd.Args(cmd, cmd.Flags().Args())
			}
			if err != nil {
				t.Errorf("%s: %v", strings.TrimSpace(line), err)
			}
		}
	}
	if commands < 7 || workflows != 1 {
		t.Errorf("%d commands and %d workflows in the README", commands, workflows)
	}
}
