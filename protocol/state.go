package protocol

import (
	"fmt"
	"slices"
	"strings"
)

// StateFormat says in which format a release leaves what it puts by (a trigger's state, and
// kv), and which older formats it can read. A manifest without it is of format 1 and reads that.
type StateFormat struct {
	Format uint32   `cbor:"1,keyasint,omitempty" json:"format"` // from 1; 0 means 1
	Older  []uint32 `cbor:"2,keyasint,omitempty" json:"reads"`  // besides its own
}

// IsZero reports whether it says nothing.
func (s StateFormat) IsZero() bool { return s.Format == 0 && len(s.Older) == 0 }

// StateFormatsMax bounds the older formats that one release reads.
const StateFormatsMax = 32

// Number returns the format.
func (s StateFormat) Number() uint32 { return max(s.Format, 1) }

// Reads reports whether a release of format s can go on with what one of format old left.
func (s StateFormat) Reads(old StateFormat) bool {
	return s.Number() == old.Number() || slices.Contains(s.Older, old.Number())
}

// String returns the formats that it reads.
func (s StateFormat) String() string {
	all := []string{fmt.Sprint(s.Number())}
	for _, n := range s.Older {
		all = append(all, fmt.Sprint(n))
	}
	return strings.Join(all, ", ")
}
