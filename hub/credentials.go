package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stavily/stavily/hub/source"
	"github.com/stavily/stavily/protocol"
)

// credentialMax bounds one file of a credential in bytes.
const credentialMax = 64 << 10

// credential reads what opens private repositories from a folder of the hub's home,
// credentials/<name>, whose files are token, user, ssh_key, known_hosts and ca.pem, each
// where it is needed. They are read when they are used and kept nowhere else; the books
// know the name alone. No name means no credential.
func (c Config) credential(name string) (source.Credentials, error) {
	var out source.Credentials
	if name == "" {
		return out, nil
	}
	if err := protocol.Site(name).Check(); err != nil {
		return out, protocol.Errorf(protocol.CodeBadName, "credential: %w", err)
	}
	dir := filepath.Join(c.Home, "credentials", name)
	info, err := os.Stat(dir)
	if err != nil {
		return out, protocol.Errorf(protocol.CodeNotFound,
			"credential %q: want a folder %s with a token or an ssh_key",
			name, dir)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return out, protocol.Errorf(protocol.CodeRefused, "credential %q: folder %s has mode %o, want 700", name,
			dir, mode)
	}
	var user, token []byte
	for _, f := range []struct {
		file string
		into *[]byte
	}{
		{"user", &user},
		{"token", &token},
		{"ssh_key", &out.SSHKeyPEM},
		{"known_hosts", &out.KnownHosts},
		{"ca.pem", &out.CAPEM},
	} {
		if *f.into, err = readSmall(filepath.Join(dir, f.file)); err != nil {
			return source.Credentials{}, fmt.Errorf("credential %q: %w", name, err)
		}
	}
	out.User, out.Token = strings.TrimSpace(string(user)), strings.TrimSpace(string(token))
	return out, nil
}

// readSmall reads a file that may be missing.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.Size() > credentialMax {
		return nil, protocol.Errorf(protocol.CodeLimit, "%s: %d bytes, limit %d", path, info.Size(), credentialMax)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}
