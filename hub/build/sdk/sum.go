package sdk

import (
	"crypto/sha256"
	"encoding/hex"
)

// Sum names the SDK's content: builds that used another have other inputs.
func Sum() string {
	sum := sha256.Sum256(archive)
	return hex.EncodeToString(sum[:])
}
