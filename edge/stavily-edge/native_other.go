//go:build !linux || !(amd64 || arm64 || riscv64)

package main

import (
	"context"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// isJail reports that this process is no plugin's jail: there are none here.
func isJail([]string) bool { return false }

func beJail() int { return exitOther }

// nativeHost would run native plugins.
type nativeHost struct{}

func newNative(context.Context, *house) (*nativeHost, error) {
	return nil, protocol.Errorf(protocol.CodeIncompatible, "--native: native plugins: not on this platform")
}

func (*nativeHost) loader() func(context.Context, wasmhost.Spec) (wasmhost.Loaded, error) { return nil }

func (*nativeHost) machine() *protocol.Native { return nil }

func (*nativeHost) close(context.Context) {}
