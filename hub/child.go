package hub

import (
	"io"
	"os"

	"github.com/stavily/stavily/wasmhost"
)

// selfLink leads to the program that runs, even when an update has replaced its file.
const selfLink = "/proc/self/exe"

// ChildCommand starts this program again as Child. It is empty where nobody can tell
// which program this is.
func ChildCommand() []string {
	self := selfLink
	if _, err := os.Stat(self); err != nil {
		if self, err = os.Executable(); err != nil {
			return nil
		}
	}
	return []string{self, wasmhost.CompileCommand}
}

// Child is all that the program does when args, without its own name, are those of a
// child; if not, mine is false. A main calls it first and exits with the code.
func Child(args []string, in io.Reader, out io.Writer) (code int, mine bool) {
	if len(args) == 0 || args[0] != wasmhost.CompileCommand {
		return 0, false
	}
	return wasmhost.CompileChild(args[1:], in, out), true
}
