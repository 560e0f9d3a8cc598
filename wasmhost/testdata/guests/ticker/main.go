// Command ticker is a trigger: it counts its wakes in its state and fires with the
// count, twice on a timer.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	fmt.Println(`{"hello":{"abi":1,"type":"trigger","plugin":"ticker","sdk":"test/1"}}`)
	for in.Scan() {
		var m struct {
			ID   int             `json:"id"`
			Init json.RawMessage `json:"init"`
			Wake *struct {
				Why   string `json:"why"`
				State *int   `json:"state"`
			} `json:"wake"`
		}
		if err := json.Unmarshal(in.Bytes(), &m); err != nil {
			panic(err)
		}
		switch {
		case m.Init != nil:
			fmt.Println(`{"ready":{}}`)
		case m.Wake != nil:
			n := 0
			if m.Wake.State != nil {
				n = *m.Wake.State
			}
			n++
			events := fmt.Sprintf(`{"count":%d}`, n)
			if m.Wake.Why == "timer" {
				events += "," + events
			}
			fmt.Printf(`{"id":%d,"answer":{"events":[%s],"state":%d,"next":{"after_ms":5000}}}`+"\n", m.ID, events, n)
		default:
			fmt.Printf(`{"id":%d,"answer":{}}`+"\n", m.ID)
		}
	}
}
