package disk

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/stavily/stavily/edge"
)

// migrateAtOnce is how many keys of an old state go to the journal as one frame.
const migrateAtOnce = 256

// migrate takes the state.db of an agent of before into a new journal. The journal has its
// name only when it is whole, and only then the old state goes: a cut begins it again.
// What cannot be read of an old state is kept as .bad.
func (s *Store) migrate(dir, in string) error {
	old := filepath.Join(dir, nameDB)
	if _, err := os.Stat(old); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	rotten := false
	if _, err := os.Stat(in); errors.Is(err, os.ErrNotExist) {
		keys, err := s.convert(old, in+suffixNew)
		rotten = errors.Is(err, errBolt)
		if err != nil && !rotten {
			return err
		}
		if err := errors.Join(os.Rename(in+suffixNew, in), syncDir(dir)); err != nil {
			return err
		}
		s.log.Info("state of an agent of before taken over", slog.Int("keys", keys))
		if rotten {
			s.log.Error("old state not wholly readable: the rest is kept", slog.String("path", old+suffixBad),
				slog.String("error", err.Error()))
		}
	}
	if rotten {
		return errors.Join(os.Rename(old, old+suffixBad), syncDir(dir))
	}
	return errors.Join(os.Remove(old), syncDir(dir))
}

// convert makes a journal in dir of the keys of a bbolt file.
func (s *Store) convert(old, dir string) (keys int, err error) {
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return 0, err
	}
	f, err := lock(old, os.O_RDWR)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	j, err := openJournal(osFS{}, dir, s.log, segmentSize)
	if err != nil {
		return 0, err
	}
	var changes []edge.Change
	lost := readBolt(f, "kv", func(key, value []byte) error {
		changes = append(changes, edge.Change{Key: string(key), Value: append([]byte{}, value...)})
		keys++
		if len(changes) < migrateAtOnce {
			return nil
		}
		err := j.apply(changes, false)
		changes = changes[:0]
		return err
	})
	if lost == nil || errors.Is(lost, errBolt) {
		err = j.apply(changes, true)
	}
	return keys, errors.Join(lost, err, j.sync(), j.close(), syncDir(dir))
}
