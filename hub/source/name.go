package source

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// badName says why one name of a path must not reach a disk, or "". A tree is exported on Linux but may be
// unpacked anywhere, so the rules are those of the strictest file system.
func badName(name string) string {
	switch {
	case name == "":
		return "empty name"
	case name == "." || name == "..":
		return "relative name"
	case len(name) > 255:
		return "name longer than 255 bytes"
	case !utf8.ValidString(name):
		return "name is not UTF-8"
	case strings.ContainsAny(name, `/\`):
		return "slash or backslash in a name"
	case strings.Contains(name, ":"):
		return "colon in a name"
	case strings.ContainsFunc(name, isHidden):
		return "control or invisible character in a name"
	case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " "):
		return "name ends in a dot or a space"
	case isGit(name):
		return "name is reserved for git"
	case isDevice(name):
		return "name of a Windows device"
	}
	return ""
}

// isHidden is true for what a reader cannot see: controls, and the format characters that turn text around.
func isHidden(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }

// isGit knows .git, its short name on Windows, and the file that lists submodules.
func isGit(name string) bool {
	switch foldName(name) {
	case ".git", "git~1", ".gitmodules":
		return true
	}
	return false
}

// isDevice is true for CON, NUL.txt, com1 and their like.
func isDevice(name string) bool {
	stem, _, _ := strings.Cut(strings.ToUpper(name), ".")
	stem = strings.TrimRight(stem, " ")
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	port, ok := strings.CutPrefix(stem, "COM")
	if !ok {
		port, ok = strings.CutPrefix(stem, "LPT")
	}
	const ports = "0123456789¹²³"
	return ok && utf8.RuneCountInString(port) == 1 && strings.Contains(ports, port)
}

// foldName is equal for two names that some file system takes for one: case folded, in normal form.
func foldName(name string) string {
	return norm.NFC.String(cases.Fold().String(norm.NFD.String(name)))
}
