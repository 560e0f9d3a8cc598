package source

import (
	"errors"
	"fmt"
)

// What can be wrong with a repository or a tag, for errors.Is.
var (
	ErrNotFound      = errors.New("not found")
	ErrAuth          = errors.New("the remote refused the credential")
	ErrRedirect      = errors.New("redirect refused")
	ErrUnsigned      = errors.New("not signed")
	ErrMalformedTag  = errors.New("malformed tag")
	ErrNestedTag     = errors.New("tag does not name a commit")
	ErrRenamedTag    = errors.New("tag carries another name")
	ErrBadSignature  = errors.New("bad signature")
	ErrUnknownSigner = errors.New("unknown signer")
	ErrHostileTree   = errors.New("hostile tree")
	ErrMovedTag      = errors.New("moved tag")
	ErrNotNewer      = errors.New("not newer")
	ErrLimit         = errors.New("limit passed")
)

// A LimitError says which bound of Limits was passed. errors.Is(err, ErrLimit) holds for it.
type LimitError struct {
	What  string // the bound, in words
	Limit int64  // what is allowed
	Got   int64  // what was met; when data was cut off, the first value beyond Limit
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s: limit is %d, got %d", e.What, e.Limit, e.Got)
}

// Is makes every LimitError an ErrLimit.
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

func hostile(path, why string) error {
	return fmt.Errorf("%w: %q: %s", ErrHostileTree, path, why)
}
