package hub

import (
	"encoding/json"
	"fmt"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// getJSON reads an entry of the books into v and reports whether there is one.
func getJSON(tx *store.Tx, book, key string, v any) (bool, error) {
	value, err := tx.Entry(book, key)
	if protocol.CodeOf(err) == protocol.CodeNotFound {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(value, v)
	}
	if err != nil {
		return false, fmt.Errorf("%s %q: %w", book, key, err)
	}
	return true, nil
}

// putJSON keeps v as an entry of the books.
func putJSON(tx *store.Tx, book, key string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s %q: %w", book, key, err)
	}
	return tx.PutEntry(store.Entry{Book: book, Key: key, Value: value})
}
