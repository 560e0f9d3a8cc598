package stavily

import (
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"
)

// Level is how grave a log line is. The numbers are those of log/slog.
type Level int

// The levels.
const (
	LevelDebug Level = -4
	LevelInfo  Level = 0
	LevelWarn  Level = 4
	LevelError Level = 8
)

// Log writes a log line of at most 1 KiB. The host keeps so many a second and counts
// the rest; there is nothing to do when it does not.
func (c *Context) Log(level Level, text string) {
	_ = c.Call("log", logArgs{level, clip(text)}, nil)
}

type logArgs struct {
	Level Level  `json:"level"`
	Text  string `json:"text"`
}

// Metrics reads what the machine is at now, by name: cpu.percent, memory.percent,
// memory.available, disk.percent, disk.free, load.1, load.5, load.15, temperature.cpu,
// uptime.seconds. A metric that this machine does not have is not in the map. Needs
// metrics.read.
func (c *Context) Metrics(names ...string) (map[string]float64, error) {
	var ok struct {
		Values map[string]float64 `json:"values"`
	}
	err := c.Call("metrics.read", metricsArgs{names}, &ok)
	return ok.Values, err
}

type metricsArgs struct {
	Names []string `json:"names"`
}

// Command is a program to run: no shell, no environment but PATH and LANG.
type Command struct {
	Argv      []string // the first is a name or an absolute path that is granted
	Stdin     string
	OutputMax int           // bytes kept of each output; 0: the host's default
	Timeout   time.Duration // 0: the host's default, 5 s
}

// Exit is how a program ended.
type Exit struct {
	Exit      int    `json:"exit"`
	Stdout    string `json:"stdout"`
	Stderr    string `json:"stderr"`
	Truncated bool   `json:"truncated"` // there was more output than is here
	TookMS    int64  `json:"took_ms"`
}

// Process runs a program on the machine and waits for its end. An exit code other than
// 0 is no error here. Needs process.execute with the program as a scope.
func (c *Context) Process(command Command) (Exit, error) {
	var ok Exit
	err := c.Call("process.run", processArgs{
		command.Argv, command.Stdin, command.OutputMax, Duration(command.Timeout).MS(),
	}, &ok)
	return ok, err
}

type processArgs struct {
	Argv      []string `json:"argv"`
	Stdin     string   `json:"stdin"`
	OutputMax int      `json:"output_max,omitempty"`
	TimeoutMS int64    `json:"timeout_ms,omitempty"`
}

// Append adds text to the end of a file in the plugin's own directory, which it makes
// if need be, and returns the file's size in bytes. With sync the text is on the disk
// when Append returns. Needs filesystem.write.
func (c *Context) Append(path, data string, sync bool) (size int64, err error) {
	if !utf8.ValidString(data) {
		return 0, errNotText
	}
	var ok struct {
		Size int64 `json:"size"`
	}
	err = c.Call("fs.append", appendArgs{path, data, sync}, &ok)
	return ok.Size, err
}

type appendArgs struct {
	Path string `json:"path"`
	Data string `json:"data"`
	Sync bool   `json:"sync"`
}

// WriteFile makes a file in the plugin's own directory be data, whole or not at all.
// Needs filesystem.write.
func (c *Context) WriteFile(path, data string) error {
	if !utf8.ValidString(data) {
		return errNotText
	}
	return c.Call("fs.write", writeArgs{path, data}, nil)
}

type writeArgs struct {
	Path string `json:"path"`
	Data string `json:"data"`
}

// ReadFile reads a file of the plugin's own directory, max bytes of it at most. Needs
// filesystem.read.
func (c *Context) ReadFile(path string, max int) (string, error) {
	var ok struct {
		Data string `json:"data"`
	}
	err := c.Call("fs.read", readArgs{path, max}, &ok)
	return ok.Data, err
}

type readArgs struct {
	Path string `json:"path"`
	Max  int    `json:"max"`
}

// ListFiles lists the names in a folder of the plugin's own directory. Needs
// filesystem.read.
func (c *Context) ListFiles(path string) ([]string, error) {
	var ok struct {
		Names []string `json:"names"`
	}
	err := c.Call("fs.list", listArgs{path}, &ok)
	return ok.Names, err
}

type listArgs struct {
	Path string `json:"path"`
}

// KVGet reads what KVPut kept under a key into a pointer, and says whether there was
// anything. Needs kv.
func (c *Context) KVGet(key string, into any) (found bool, err error) {
	var ok struct {
		Value json.RawMessage `json:"value"`
	}
	if err := c.Call("kv.get", getArgs{key}, &ok); err != nil {
		return false, err
	}
	if len(ok.Value) == 0 || string(ok.Value) == "null" {
		return false, nil
	}
	return true, json.Unmarshal(ok.Value, into)
}

type getArgs struct {
	Key string `json:"key"`
}

// KVPut keeps a value under a key: at most 64 keys, each value at most 16 KiB as JSON.
// A trigger's own state belongs into Fired.State instead, which is kept together with
// its events. Needs kv.
func (c *Context) KVPut(key string, value any) error {
	return c.Call("kv.put", putArgs{key, value}, nil)
}

type putArgs struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

var errNotText = errors.New("data: want UTF-8 text")
