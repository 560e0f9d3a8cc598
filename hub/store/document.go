package store

import "github.com/stavily/stavily/protocol"

// Entry is one small document of the hub's own: a workflow's text, a deployment's
// state, a setting. Books and keys are the hub's to name.
type Entry struct {
	Book  string
	Key   string
	Value []byte
}

// documentMax bounds one document in bytes; files by digest are for larger things.
const documentMax = 4 << 20

// PutEntry keeps e in place of what its book held under its key.
func (tx *Tx) PutEntry(e Entry) error {
	if len(e.Value) > documentMax {
		return protocol.Errorf(protocol.CodeLimit, "keep %s %q: %d bytes, limit %d", e.Book, e.Key, len(e.Value),
			documentMax)
	}
	_, err := tx.Exec(`INSERT INTO entry (book, name, value) VALUES (?, ?, ?)
		ON CONFLICT (book, name) DO UPDATE SET value = excluded.value`, e.Book, e.Key, append([]byte{}, e.Value...))
	return err
}

// Entry returns what book holds under key; CodeNotFound when nothing.
func (tx *Tx) Entry(book, key string) ([]byte, error) {
	var value []byte
	err := tx.QueryRow("SELECT value FROM entry WHERE book = ? AND name = ?", book, key).Scan(&value)
	if None(err) {
		return nil, protocol.Errorf(protocol.CodeNotFound, "%s %q: not found", book, key)
	}
	return value, err
}

// Entries returns all of book, by key.
func (tx *Tx) Entries(book string) ([]Entry, error) {
	rows, err := tx.Query("SELECT name, value FROM entry WHERE book = ? ORDER BY name", book)
	return Collect(rows, err, func(row Scanner) (Entry, error) {
		e := Entry{Book: book}
		return e, row.Scan(&e.Key, &e.Value)
	})
}

// DropEntry forgets what book holds under key; CodeNotFound when nothing.
func (tx *Tx) DropEntry(book, key string) error {
	n, err := Changed(tx.Exec("DELETE FROM entry WHERE book = ? AND name = ?", book, key))
	if err == nil && n == 0 {
		return protocol.Errorf(protocol.CodeNotFound, "drop %s %q: not found", book, key)
	}
	return err
}
