package stavilytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/stavily/stavily/plugins/sdk/go"
)

// Network is what the plugin can reach. The zero value is nothing.
type Network struct {
	// Names are the addresses that dns.resolve answers.
	Names map[string][]string
	// HTTP answers http.request; an error with a code of the host's is a *stavily.Error.
	HTTP func(request stavily.HTTPRequest) (stavily.HTTPResponse, error)
	// Dial answers tcp.connect, with "host:port": one end of a net.Pipe, or a connection
	// to a server of the test's own.
	Dial func(address string) (io.ReadWriteCloser, error)
}

// resolve answers dns.resolve.
func (h *Host) resolve(args json.RawMessage) (any, error) {
	var a struct{ Name string }
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, err
	}
	addresses, ok := h.Network.Names[a.Name]
	if !ok {
		text := fmt.Sprintf("resolve %q: no such name", a.Name)
		return nil, &stavily.Error{Code: stavily.CodeNotFound, Text: text}
	}
	return map[string]any{"addresses": addresses}, nil
}

// http answers http.request.
func (h *Host) http(args json.RawMessage) (any, error) {
	var a struct {
		Method, URL string
		Headers     map[string]string
		Secrets     []string
		Body        string
		Body64      []byte `json:"body_base64"`
		Max         int
		TimeoutMS   int64 `json:"timeout_ms"`
	}
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, err
	}
	if h.Network.HTTP == nil {
		return nil, noNetwork("http.request")
	}
	answer, err := h.Network.HTTP(stavily.HTTPRequest{
		Method: a.Method, URL: a.URL, Headers: a.Headers, Body: append([]byte(a.Body), a.Body64...), Max: a.Max,
		Secrets: a.Secrets, Timeout: time.Duration(a.TimeoutMS) * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	if a.Max > 0 && len(answer.Body) > a.Max {
		answer.Body, answer.Truncated = answer.Body[:a.Max], true
	}
	ok := map[string]any{
		"status": answer.Status, "headers": answer.Headers, "truncated": answer.Truncated, "took_ms": 0,
	}
	if utf8.Valid(answer.Body) {
		ok["body"] = string(answer.Body)
	} else {
		ok["body_base64"] = answer.Body
	}
	return ok, nil
}

// connect answers tcp.connect.
func (h *Host) connect(args json.RawMessage) (any, error) {
	var a struct {
		Host string
		Port int
	}
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, err
	}
	if h.Network.Dial == nil {
		return nil, noNetwork("tcp.connect")
	}
	address := net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
	conn, err := h.Network.Dial(address)
	if err != nil {
		return nil, err
	}
	h.conns = append(h.conns, conn)
	return map[string]any{"conn": len(h.conns), "address": address}, nil
}

// talkTCP answers tcp.read, tcp.write and tcp.close.
func (h *Host) talkTCP(name string, args json.RawMessage) (any, error) {
	var a struct {
		Conn   int
		Data   string
		Data64 []byte `json:"data_base64"`
		Max    int
		Base64 bool
	}
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, err
	}
	if a.Conn < 1 || a.Conn > len(h.conns) {
		text := fmt.Sprintf("connection %d: not open", a.Conn)
		return nil, &stavily.Error{Code: stavily.CodeNotFound, Text: text}
	}
	conn := h.conns[a.Conn-1]
	switch name {
	case "tcp.close":
		return struct{}{}, conn.Close()
	case "tcp.write":
		n, err := conn.Write(append([]byte(a.Data), a.Data64...))
		return map[string]any{"size": n}, err
	}
	if a.Max <= 0 {
		a.Max = 4096
	}
	buf := make([]byte, a.Max)
	n, err := conn.Read(buf)
	ok := map[string]any{"eof": errors.Is(err, io.EOF)}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if !a.Base64 && utf8.Valid(buf[:n]) {
		ok["data"] = string(buf[:n])
	} else {
		ok["data_base64"] = buf[:n]
	}
	return ok, nil
}

// hangUp closes what a request left open, as an agent does.
func (h *Host) hangUp() {
	for _, conn := range h.conns {
		_ = conn.Close()
	}
	h.conns = nil
}

func noNetwork(name string) error {
	return &stavily.Error{Code: stavily.CodeUnavailable, Text: name + ": no answer in this test"}
}
