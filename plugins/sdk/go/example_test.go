package stavily_test

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/stavily/stavily/plugins/sdk/go"
)

type greeting struct {
	Name string `json:"name"`
}

func (g *greeting) Validate() error {
	if g.Name == "" {
		return errors.New("name: want one")
	}
	return nil
}

// A whole action, and what goes over its stdin and stdout.
func Example() {
	var g greeting
	plugin := stavily.Action("hello", func(_ *stavily.Context, r stavily.Run) (any, error) {
		return "hello, " + g.Name, nil
	}).Config(&g)

	// In a real plugin this is plugin.Main().
	host := strings.NewReader(`{"init":{"config":{"name":"Ada"}}}` + "\n" +
		`{"id":1,"run":{"event":{"data":null}}}` + "\n")
	fmt.Println(plugin.Serve(host, os.Stdout))
	// Output:
	// {"hello":{"abi":1,"type":"action","plugin":"hello","sdk":"go/0.1.0","batch":256,"reinit":true}}
	// {"ready":{}}
	// {"id":1,"answer":{"data":"hello, Ada"}}
	// <nil>
}

// A configuration that Validate refuses ends the conversation.
func ExamplePlugin_Config() {
	plugin := stavily.Output("hello", func(*stavily.Context, stavily.Delivery) error { return nil })
	_ = plugin.Config(new(greeting)).Serve(strings.NewReader(`{"init":{"config":{}}}`+"\n"), os.Stdout)
	// Output:
	// {"hello":{"abi":1,"type":"output","plugin":"hello","sdk":"go/0.1.0","batch":256,"reinit":true}}
	// {"error":{"code":"plugin","text":"config: name: want one"}}
}

// A retryable error tells the host that asking again may help.
func ExampleRetryable() {
	err := stavily.Retryable(errors.New("printer: out of paper"))
	fmt.Println(stavily.Code(err), err)
	// Output: retryable printer: out of paper
}
