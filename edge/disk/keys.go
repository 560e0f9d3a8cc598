package disk

import (
	"strings"

	"github.com/stavily/stavily/protocol"
)

// lanesMax bounds the lanes whose records go to the segments; the number of a lane has
// half a byte there.
const lanesMax = min(int(protocol.LaneEnd), 16)

// keyOut begins the keys of records; see edge.RecordKey.
const keyOut = "out/"

func lanePrefix(lane protocol.Lane) string { return keyOut + string('0'+rune(lane)) + "/" }

// touches reports whether a scan of prefix may meet records of a lane.
func touches(prefix string, lane protocol.Lane) bool {
	of := lanePrefix(lane)
	return strings.HasPrefix(of, prefix) || strings.HasPrefix(prefix, of)
}
