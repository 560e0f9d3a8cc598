package stavily

import (
	"io"
	"time"
	"unicode/utf8"
)

// Resolve returns the addresses of a host name, best first. Needs dns.resolve with the
// name as a scope.
func (c *Context) Resolve(name string) ([]string, error) {
	var ok struct {
		Addresses []string `json:"addresses"`
	}
	err := c.Call("dns.resolve", resolveArgs{name}, &ok)
	return ok.Addresses, err
}

type resolveArgs struct {
	Name string `json:"name"`
}

// HTTPRequest is a request to make. The host makes it, verifies TLS, and follows no
// redirect.
type HTTPRequest struct {
	Method  string // "" is GET
	URL     string // http or https
	Headers map[string]string
	Body    []byte
	// Secrets are names of secrets. The host puts the value of each in place of its
	// [Handle] in headers, path and query; the plugin does not learn it. Needs secret.use
	// with "name@host:port" as a scope.
	Secrets []string
	Max     int           // bytes kept of the answer's body; 0: 64 KiB, at most 80 KiB
	Timeout time.Duration // 0: the host's default, 10 s
}

// HTTPResponse is the answer, whatever its status.
type HTTPResponse struct {
	Status    int
	Headers   map[string]string // names in lower case
	Body      []byte
	Truncated bool // there was more body than is here
}

// HTTP makes a request. A status that says no is no error here. Needs http.request with
// "host:port" as a scope.
func (c *Context) HTTP(request HTTPRequest) (HTTPResponse, error) {
	args := httpArgs{
		Method: request.Method, URL: request.URL, Headers: request.Headers, Max: request.Max,
		Secrets:   request.Secrets,
		TimeoutMS: Duration(request.Timeout).MS(),
	}
	args.Body, args.Body64 = carried(request.Body)
	var ok struct {
		Status    int               `json:"status"`
		Headers   map[string]string `json:"headers"`
		Body      string            `json:"body"`
		Body64    []byte            `json:"body_base64"`
		Truncated bool              `json:"truncated"`
	}
	err := c.Call("http.request", args, &ok)
	return HTTPResponse{ok.Status, ok.Headers, append([]byte(ok.Body), ok.Body64...), ok.Truncated}, err
}

type httpArgs struct {
	Method    string            `json:"method,omitempty"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers,omitempty"`
	Secrets   []string          `json:"secrets,omitempty"`
	Body      string            `json:"body,omitempty"`
	Body64    []byte            `json:"body_base64,omitempty"`
	Max       int               `json:"max,omitempty"`
	TimeoutMS int64             `json:"timeout_ms,omitempty"`
}

// carried returns bytes as they travel: as text, or as what JSON has in base64.
func carried(b []byte) (text string, in64 []byte) {
	if utf8.Valid(b) {
		return string(b), nil
	}
	return "", b
}

// Conn is a connection of one request; the host closes it when the request ends. It is
// an io.ReadWriteCloser, so bufio, net/textproto and the like go on top of it.
type Conn struct {
	// Timeout bounds each Read and Write; 0: the host's default, 10 s. A Read that met it
	// may be tried again.
	Timeout time.Duration

	c    *Context
	conn uint64
	addr string
}

// Dial connects to a port of a host, a name or an address; with tls the host of the
// plugin verifies the other side and encrypts. Needs tcp.connect with "host:port" as a
// scope.
func (c *Context) Dial(host string, port int, tls bool) (*Conn, error) {
	var ok struct {
		Conn    uint64 `json:"conn"`
		Address string `json:"address"`
	}
	if err := c.Call("tcp.connect", connectArgs{host, port, tls}, &ok); err != nil {
		return nil, err
	}
	return &Conn{c: c, conn: ok.Conn, addr: ok.Address}, nil
}

type connectArgs struct {
	Host string `json:"host"`
	Port int    `json:"port"`
	TLS  bool   `json:"tls,omitempty"`
}

// Address returns the address and port that were connected to.
func (n *Conn) Address() string { return n.addr }

// connReadMax bounds one tcp.read, connWriteMax the bytes of one tcp.write: in base64
// they fit a line.
const (
	connReadMax  = 64 << 10
	connWriteMax = 64 << 10
)

// Read waits for bytes and returns those that are there, io.EOF at the end.
func (n *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	var ok struct {
		Data []byte `json:"data_base64"`
		EOF  bool   `json:"eof"`
	}
	args := connArgs{Conn: n.conn, Max: min(len(p), connReadMax), Base64: true, TimeoutMS: n.timeout()}
	if err := n.c.Call("tcp.read", args, &ok); err != nil {
		return 0, err
	}
	got := copy(p, ok.Data)
	if got == 0 && ok.EOF {
		return 0, io.EOF
	}
	return got, nil
}

// Write writes all of p.
func (n *Conn) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		part := p[done:min(len(p), done+connWriteMax)]
		args := connArgs{Conn: n.conn, Data: part, TimeoutMS: n.timeout()}
		if err := n.c.Call("tcp.write", args, nil); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, nil
}

// Close closes the connection. Closing it again does nothing.
func (n *Conn) Close() error { return n.c.Call("tcp.close", connArgs{Conn: n.conn}, nil) }

func (n *Conn) timeout() int64 { return Duration(n.Timeout).MS() }

type connArgs struct {
	Conn      uint64 `json:"conn"`
	Data      []byte `json:"data_base64,omitempty"`
	Max       int    `json:"max,omitempty"`
	Base64    bool   `json:"base64,omitempty"`
	TimeoutMS int64  `json:"timeout_ms,omitempty"`
}

var _ io.ReadWriteCloser = (*Conn)(nil)
