package main

import (
	"os"
	"strings"

	platform "github.com/stavily/stavily/firmware-targets"
)

// binarySize is N5: the stripped agent for every platform, each against its own bound
// and a Go program for it that says hello.
func binarySize(b *bench) ([]line, error) {
	var out []line
	for _, p := range platform.All() {
		agent, err := b.build(edgePackage, p.Environ()...)
		if err != nil {
			return out, err
		}
		hello, err := b.hello(p.Environ()...)
		if err != nil {
			return out, err
		}
		l := line{
			metric: "agent binary, stripped, " + strings.TrimPrefix(p.Name, "linux-"), unit: "MB",
			baseline: "hello program", target: atMost(float64(p.EdgeKB) / 1000),
		}
		if l.value, err = megabytes(agent); err != nil {
			return out, err
		}
		if l.base, err = megabytes(hello); err != nil {
			return out, err
		}
		out = append(out, l)
	}
	return out, nil
}

func megabytes(file string) (float64, error) {
	info, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	return float64(info.Size()) / 1e6, nil
}
