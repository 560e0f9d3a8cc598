package build

import (
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

// Meter makes a module pay fuel, and checks the result as an agent will. The error has
// CodeUnverified.
func Meter(module []byte) ([]byte, error) {
	metered, err := meter.Instrument(module)
	if err == nil {
		err = meter.Check(metered)
	}
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeUnverified, "meter: %w", err)
	}
	return metered, nil
}
