package source

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
)

// The ways to reach a repository.
const (
	overHTTP = "http"
	overSSH  = "ssh"
	onDisk   = "disk"
)

// maxURL bounds a repository's URL, in bytes.
const maxURL = 2048

// A place is a parsed repository URL.
type place struct {
	kind string // overHTTP, overSSH, onDisk
	base string // overHTTP: the URL without a trailing slash
	user string // overSSH
	host string // overSSH: host:port
	path string // overSSH, onDisk
}

// scpLike is user@host:path; a name before the colon has no slash.
var scpLike = regexp.MustCompile(`^(?:([A-Za-z0-9._-]+)@)?([A-Za-z0-9][A-Za-z0-9.-]*):([^:].*)$`)

// parseURL reads a repository URL. Its errors never repeat the URL: it may hold a password.
func parseURL(raw string) (place, error) {
	switch {
	case raw == "":
		return place{}, errors.New("url: empty")
	case len(raw) > maxURL:
		return place{}, &LimitError{What: "bytes of the url", Limit: maxURL, Got: int64(len(raw))}
	case strings.ContainsFunc(raw, isControl):
		return place{}, errors.New("url: control character")
	case strings.Contains(raw, "://"):
		return parseFullURL(raw)
	}
	if m := scpLike.FindStringSubmatch(raw); m != nil {
		return sshPlace(m[1], net.JoinHostPort(m[2], "22"), m[3])
	}
	if strings.Contains(raw, "::") {
		return place{}, errors.New("url: remote helpers are not supported")
	}
	path, err := filepath.Abs(raw)
	if err != nil {
		return place{}, fmt.Errorf("url: %w", err)
	}
	return place{kind: onDisk, path: path}, nil
}

func parseFullURL(raw string) (place, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return place{}, errors.New("url: bad syntax")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return place{}, errors.New("url: has a query or a fragment")
	}
	switch u.Scheme {
	case "https":
		return httpPlace(u)
	case "http":
		if !isLoopback(u.Hostname()) {
			return place{}, errors.New("url: scheme http is for loopback only: want https")
		}
		return httpPlace(u)
	case "ssh":
		return sshURL(u)
	case "file":
		if u.Host != "" && !isLoopback(u.Hostname()) {
			return place{}, fmt.Errorf("url: file on host %q: want this machine's", u.Host)
		}
		return place{kind: onDisk, path: filepath.Clean(u.Path)}, nil
	default:
		return place{}, fmt.Errorf("url: scheme %q: want https, ssh or file", u.Scheme)
	}
}

func httpPlace(u *url.URL) (place, error) {
	if u.User != nil {
		return place{}, errors.New("url: holds a credential: give it as a token")
	}
	if u.Hostname() == "" {
		return place{}, errors.New("url: no host")
	}
	return place{kind: overHTTP, base: strings.TrimRight(u.String(), "/")}, nil
}

func sshURL(u *url.URL) (place, error) {
	if _, has := u.User.Password(); has {
		return place{}, errors.New("url: holds a password: give an ssh key")
	}
	port := u.Port()
	if port == "" {
		port = "22"
	}
	return sshPlace(u.User.Username(), net.JoinHostPort(u.Hostname(), port), u.Path)
}

func sshPlace(user, host, path string) (place, error) {
	if user == "" {
		user = "git"
	}
	if strings.HasPrefix(host, ":") || strings.HasPrefix(host, "-") || strings.HasPrefix(path, "-") {
		return place{}, errors.New("url: host or path missing, or starts with a dash")
	}
	if strings.Trim(path, "/") == "" {
		return place{}, errors.New("url: no path")
	}
	return place{kind: overSSH, user: user, host: host, path: path}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// shown is the URL as errors may print it and books may keep it: of a full URL, nothing
// between the scheme and the host, no query and no fragment; of any, no control
// characters.
func shown(raw string) string {
	raw = strings.Map(func(r rune) rune {
		if isControl(r) {
			return '?'
		}
		return r
	}, raw[:min(len(raw), maxURL)])
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return raw
	}
	if end := strings.IndexAny(rest, "?#"); end >= 0 {
		rest = rest[:end]
	}
	authority, path, slash := strings.Cut(rest, "/")
	authority = authority[strings.LastIndexByte(authority, '@')+1:]
	if slash {
		path = "/" + path
	}
	return scheme + "://" + authority + path
}
