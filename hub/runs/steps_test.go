package runs

import (
	"bytes"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// TestEncodeSteps: steps by hand are what Marshal makes of them, and are read again.
func TestEncodeSteps(t *testing.T) {
	body := func(text string) []byte {
		return protocol.MustMarshal(protocol.Result{Step: protocol.StepName(text), Type: protocol.Output})
	}
	for _, all := range [][]step{
		nil,
		{{Agent: "pump", Mark: protocol.Mark{Boot: 1, Sequence: 300}, Body: body("a")}},
		{{Agent: "pump", Body: body("a")}, {Agent: "fan", Mark: protocol.Mark{Boot: 1 << 40}, Body: body("b")}},
	} {
		got := encodeSteps(all)
		if want := protocol.MustMarshal(append([]step{}, all...)); !bytes.Equal(got, want) {
			t.Errorf("%d steps: %x, want %x", len(all), got, want)
		}
		read, err := readSteps(got)
		if err != nil || len(read) != len(all) {
			t.Fatalf("%d steps are read as %d: %v", len(all), len(read), err)
		}
		for i := range read {
			if read[i].Agent != all[i].Agent || read[i].Mark != all[i].Mark || len(read[i].result.Step) != 1 {
				t.Errorf("step %d: %+v, want %+v", i, read[i], all[i])
			}
		}
	}
}
