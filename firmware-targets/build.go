package platform

import "slices"

// cold are packages of which an agent runs little, and that rarely: their code is built to be
// small, without being copied into its callers. On armv7 that is 2.6 % of the program.
var cold = []string{
	"archive/zip", "bufio", "compress/flate", "compress/gzip", "context", "crypto/des", "crypto/dsa",
	"crypto/ecdsa", "crypto/elliptic", "crypto/hpke", "crypto/internal/fips140/drbg",
	"crypto/internal/fips140/ecdsa", "crypto/internal/fips140/mlkem", "crypto/internal/fips140/rsa",
	"crypto/internal/fips140/tls12", "crypto/internal/fips140/tls13", "crypto/rc4", "crypto/rsa",
	"crypto/tls", "crypto/x509/...", "debug/dwarf", "encoding/asn1", "encoding/base64",
	"encoding/json", "encoding/pem", "flag", "fmt", "io/fs", "log/slog/...", "math/big", "mime/...",
	"net", "net/http/...", "net/netip", "net/textproto", "net/url", "os", "os/exec", "os/signal",
	"os/user", "path/filepath", "regexp", "regexp/syntax", "text/tabwriter",
	"vendor/golang.org/x/net/...", "vendor/golang.org/x/text/...",
	"github.com/coreos/...", "github.com/eclipse/...", "github.com/gorilla/websocket",
	"github.com/shirou/...", "github.com/tetratelabs/wazero/internal/sock",
	"github.com/tetratelabs/wazero/internal/sysfs", "github.com/tetratelabs/wazero/internal/wasmdebug",
	"github.com/tklauser/...", "github.com/veraison/...", "golang.org/x/...",
	"github.com/stavily/stavily/edge/discover", "github.com/stavily/stavily/edge/mqtt",
	"github.com/stavily/stavily/edge/stavily-edge", "github.com/stavily/stavily/edge/sysinfo",
	"github.com/stavily/stavily/protocol/bundle", "github.com/stavily/stavily/protocol/delta",
	"github.com/stavily/stavily/wasmhost/native",
}

// interpreter is cold where modules are compiled; elsewhere it is what runs all the time.
const interpreter = "github.com/tetratelabs/wazero/internal/engine/interpreter"

// BuildFlags are what "go build" is given for an agent that is shipped for platforms with an
// engine, EngineCompiler or EngineInterpreter, besides its linker's flags.
func BuildFlags(engine string) []string {
	flags, patterns := []string{"-trimpath"}, cold
	if engine == EngineCompiler {
		patterns = append(slices.Clone(cold), interpreter)
	}
	for _, pattern := range patterns {
		flags = append(flags, "-gcflags="+pattern+"=-l")
	}
	return flags
}
