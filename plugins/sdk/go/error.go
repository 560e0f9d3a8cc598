package stavily

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"unicode/utf8"
)

// The codes that a plugin meets. A host call may answer with others of the protocol.
const (
	CodePlugin      = "plugin"      // a plugin's error, no use in trying again
	CodeRetryable   = "retryable"   // a plugin's error, trying again may help
	CodeDenied      = "denied"      // a host call without its grant
	CodeUnavailable = "unavailable" // a host call that this agent cannot serve now
	CodeNotFound    = "not-found"   // a host call for something that is not there
	CodeLimit       = "limit"       // a host call beyond a bound: connections, bytes per minute
	CodeDeadline    = "deadline"    // a host call that took longer than it may
)

// textMax bounds an error's text in bytes.
const textMax = 1024

// Error is an error as it travels between plugin and host.
type Error struct {
	Code string `json:"code"`
	Text string `json:"text"`
	err  error
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// Unwrap returns the error that was marked, if one was.
func (e *Error) Unwrap() error { return e.err }

// Retryable marks an error as one that may go away when the host asks again: a busy
// device, a full disk. nil stays nil.
func Retryable(err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: CodeRetryable, Text: err.Error(), err: err}
}

// Code returns the outermost code in err's chain: CodePlugin for an error without one,
// nothing for nil.
func Code(err error) string {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	default:
		return CodePlugin
	}
}

// answered makes the error that stands in an answer. Only two codes may: what the host
// was too busy for is worth another try, everything else is not.
func answered(err error) *Error {
	code := CodePlugin
	if c := Code(err); c == CodeRetryable || c == CodeUnavailable {
		code = CodeRetryable
	}
	return &Error{Code: code, Text: clip(err.Error())}
}

// clip cuts a text to textMax bytes without cutting a character.
func clip(text string) string {
	if len(text) <= textMax {
		return text
	}
	end := textMax - len("...")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}

// guard calls f and makes an error of a panic, so that one bad event does not cost the
// instance. The stack goes to the log.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			os.Stderr.Write(debug.Stack())
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f()
}
