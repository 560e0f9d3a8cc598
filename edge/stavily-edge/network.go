package main

import (
	"crypto/x509"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// pluginNetwork is how plugins reach other machines, as the flags say. The error has
// CodeBadInput.
func (o *options) pluginNetwork() (n wasmhost.NetworkConfig, err error) {
	n.Budget = wasmhost.NetworkBudget(o.bytes)
	if o.roots == "" {
		return n, nil
	}
	text, err := os.ReadFile(o.roots)
	if err != nil {
		return n, protocol.Errorf(protocol.CodeBadInput, "--plugin-roots: %w", err)
	}
	if n.Roots, err = x509.SystemCertPool(); err != nil { // a device may have none
		n.Roots = x509.NewCertPool()
	}
	if !n.Roots.AppendCertsFromPEM(text) {
		return n, protocol.Errorf(protocol.CodeBadInput, "--plugin-roots %s: no certificate in PEM in it", o.roots)
	}
	return n, nil
}

// budget is the flag --plugin-bytes: S-07.
type budget wasmhost.NetworkBudget

func (b *budget) String() string { return "" }

func (b *budget) Set(s string) error {
	in, out, both := strings.Cut(s, ":")
	if !both {
		out = in
	}
	for _, part := range []struct {
		text string
		to   *int64
	}{{in, &b.InPerMinute}, {out, &b.OutPerMinute}} {
		n, err := bytesOf(part.text)
		if err != nil {
			return err
		}
		if *part.to = n; n == 0 {
			*part.to = -1 // 0 would be the default
		}
	}
	return nil
}

// bytesOf reads a number of bytes: digits, and perhaps k or M for 1,024 and 1,048,576.
func bytesOf(s string) (int64, error) {
	digits, unit := s, int64(1)
	switch {
	case strings.HasSuffix(s, "k"):
		digits, unit = s[:len(s)-1], 1<<10
	case strings.HasSuffix(s, "M"):
		digits, unit = s[:len(s)-1], 1<<20
	}
	n, err := strconv.ParseUint(digits, 10, 40)
	if err != nil {
		return 0, fmt.Errorf("%q: want IN:OUT, each a number of bytes such as 65536, 64k or 16M", s)
	}
	return int64(n) * unit, nil
}
