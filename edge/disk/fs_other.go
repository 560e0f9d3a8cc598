//go:build !linux

package disk

func (f osFile) reserve(int64) error { return nil }
