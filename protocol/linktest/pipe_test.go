package linktest_test

import (
	"testing"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/linktest"
)

func TestPipe(t *testing.T) {
	linktest.Run(t, func(*testing.T) linktest.Pair {
		return linktest.Pipe(protocol.Address{Site: "lab", Agent: "pump"})
	})
}
