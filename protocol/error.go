package protocol

import (
	"errors"
	"fmt"
)

// Code is the closed, append-only list of reasons that cross the wire or choose an
// exit code. A code is never reused and never changes its number.
type Code uint8

// The codes.
const (
	CodeOK           Code = 0
	CodeInternal     Code = 1  // a defect in the sender
	CodeBadMessage   Code = 2  // not CBOR, not the type expected, not deterministic
	CodeLimit        Code = 3  // over a bound of limits.go or of a manifest
	CodeBadName      Code = 4  // a name outside its character set or length
	CodeBadSeal      Code = 5  // signature, key, role or context wrong
	CodeStale        Code = 6  // revision or version not above the one held
	CodeNotMine      Code = 7  // a document for another agent
	CodeNotFound     Code = 8  // no such digest, plugin, agent, workflow
	CodeDigest       Code = 9  // content does not have the digest it was asked by
	CodeRefused      Code = 10 // a policy, a token or an access rule says no
	CodeExists       Code = 11 // the name is taken, the version is published
	CodeUnverified   Code = 12 // a module asks for more than its manifest
	CodeDenied       Code = 13 // a host call without its grant
	CodeDeadline     Code = 14 // a call took longer than its limit
	CodeMemory       Code = 15 // a call needed more memory than its limit
	CodeContract     Code = 16 // a plugin broke the conversation
	CodePlugin       Code = 17 // a plugin answered with an error, not retryable
	CodeRetryable    Code = 18 // a plugin answered with an error, retryable
	CodeStorage      Code = 19 // the disk refused
	CodeUnavailable  Code = 20 // not now: busy, starting, not connected
	CodeIncompatible Code = 21 // platform, protocol version or capability lacking
	CodeBadInput     Code = 22 // what a person wrote is wrong: manifest, workflow
	codeEnd          Code = 23
)

var codeNames = [codeEnd]string{
	"ok", "internal", "bad-message", "limit", "bad-name", "bad-seal", "stale", "not-mine", "not-found",
	"digest", "refused", "exists", "unverified", "denied", "deadline", "memory", "contract", "plugin",
	"retryable", "storage", "unavailable", "incompatible", "bad-input",
}

// String returns the code's name, or its number when a newer sender made it.
func (c Code) String() string {
	if c < codeEnd {
		return codeNames[c]
	}
	return fmt.Sprintf("code-%d", uint8(c))
}

// MarshalText writes the code's name, for JSON.
func (c Code) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (c *Code) UnmarshalText(b []byte) error {
	for i, name := range codeNames {
		if name == string(b) {
			*c = Code(i)
			return nil
		}
	}
	if _, err := fmt.Sscanf(string(b), "code-%d", c); err != nil {
		return fmt.Errorf("code %q: not known", clip(string(b)))
	}
	return nil
}

// Error is an error with a code. It travels as a code and a text of at most TextMax
// bytes.
type Error struct {
	Code Code   `cbor:"1,keyasint" json:"code"`
	Text string `cbor:"2,keyasint" json:"text"`
	err  error
}

// Errorf makes an Error; %w works as in fmt.Errorf.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Text: err.Error(), err: errors.Unwrap(err)}
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// Unwrap returns what %w wrapped.
func (e *Error) Unwrap() error { return e.err }

// CodeOf returns the outermost code in err's chain, CodeOK for nil and CodeInternal
// for an error without a code.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return CodeOK
	case errors.As(err, &e):
		return e.Code
	default:
		return CodeInternal
	}
}

// AsError returns err as it travels: its code, and its text cut to TextMax bytes.
// It returns nil for nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if len(text) > TextMax {
		text = text[:TextMax-3] + "..."
	}
	return &Error{Code: CodeOf(err), Text: text, err: err}
}
