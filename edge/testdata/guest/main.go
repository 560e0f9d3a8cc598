// Command guest is one plugin of any type, told when it is linked: a trigger that
// fires three times, an action that doubles, an output that is content.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

// kind and name are set when the guest is linked.
var kind, name string

type message struct {
	ID   int             `json:"id"`
	Init json.RawMessage `json:"init"`
	Wake *struct {
		State int `json:"state"`
	} `json:"wake"`
	Run *struct {
		Event struct {
			Data struct {
				N int `json:"n"`
			} `json:"data"`
		} `json:"event"`
	} `json:"run"`
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	fmt.Printf(`{"hello":{"abi":1,"type":%q,"plugin":%q,"sdk":"test/1"}}`+"\n", kind, name)
	for in.Scan() {
		var m message
		if err := json.Unmarshal(in.Bytes(), &m); err != nil {
			panic(err)
		}
		switch {
		case m.Init != nil:
			fmt.Println(`{"ready":{}}`)
		case m.Wake != nil && m.Wake.State < 3:
			fmt.Fprintln(os.Stderr, "firing")
			n := m.Wake.State + 1
			fmt.Printf(`{"id":%d,"answer":{"events":[{"n":%d}],"state":%d,"next":{"after_ms":50}}}`+"\n", m.ID, n, n)
		case m.Wake != nil:
			fmt.Printf(`{"id":%d,"answer":{"state":%d}}`+"\n", m.ID, m.Wake.State)
		case m.Run != nil:
			fmt.Printf(`{"id":%d,"answer":{"data":{"double":%d}}}`+"\n", m.ID, 2*m.Run.Event.Data.N)
		default:
			fmt.Printf(`{"id":%d,"answer":{}}`+"\n", m.ID)
		}
	}
}
