// Package stavily is for writing Stavily plugins in Go. It needs nothing but the
// standard library, and the same source is a WASM module and a native program:
//
//	GOOS=wasip1 GOARCH=wasm go build -trimpath -ldflags='-s -w' -o plugin.wasm .
//
// A plugin is one of three things. A trigger is woken and answers with the events that
// happened, the state to keep and when to be woken next. An action is run for an event
// and answers with data. An output delivers a run. None of them loops by itself or
// sleeps: a plugin is asked, and answers.
//
//	func main() { plugin().Main() }
//
//	func plugin() *stavily.Plugin {
//		var c config
//		return stavily.Action("hello", c.run).Config(&c)
//	}
//
// What a plugin wants of the machine it asks the host for, through the methods of
// [Context]; each needs its permission in stavily-plugin.yaml. The time is
// [Context.Now]: under test and in the simulator it is not the machine's clock.
//
// [Plugin.Main] takes stdin and stdout for the conversation with the host. Afterwards
// os.Stdout is os.Stderr, so whatever a plugin prints becomes a log line.
//
// One request is answered at a time, by the goroutine that called the plugin's function.
// A Context is used by that goroutine only, and only until the function returns.
//
// Package stavilytest beside this one is a host for unit tests.
package stavily
