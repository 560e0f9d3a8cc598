//go:build !linux && !darwin && !freebsd

package wasmhost

import "errors"

// reserve is not possible here; memory then grows by copying.
func reserve(int) ([]byte, func(), error) { return nil, nil, errors.ErrUnsupported }
