package storetest_test

import (
	"testing"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) func() edge.Store {
		m := storetest.NewMemory()
		return func() edge.Store { return m }
	})
}

func TestLanes(t *testing.T) {
	storetest.Run(t, func(*testing.T) func() edge.Store {
		m := storetest.NewMemory()
		return func() edge.Store { return storetest.Lanes{Memory: m} }
	})
}
