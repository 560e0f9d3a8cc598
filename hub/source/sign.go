package source

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// A Person is an author or a tagger.
type Person struct {
	Name  string
	Email string
}

// A TagRequest says what SignTag is to sign.
type TagRequest struct {
	Tag     string // the version, like "v1.2.0"
	Commit  string // 40 hex digits; empty is the commit that HEAD names
	Message string // empty is the tag's name
	Tagger  Person
	When    time.Time
	Key     ed25519.PrivateKey
}

// SignTag writes an annotated tag with an SSH signature into the repository at dir and returns the tag
// object's name. git and ssh-keygen are not needed; `git verify-tag` accepts the result. A tag that exists
// is an error.
func SignTag(dir string, req TagRequest) (string, error) {
	id, err := signTag(dir, req)
	if err != nil {
		return "", fmt.Errorf("sign tag %s: %w", req.Tag, err)
	}
	return id.String(), nil
}

func signTag(dir string, req TagRequest) (id plumbing.Hash, err error) {
	if !isVersion(req.Tag) {
		return id, errors.New("want a version like v1.2.0")
	}
	if len(req.Key) != ed25519.PrivateKeySize {
		return id, fmt.Errorf("key: %d bytes: want an ed25519 private key of %d",
			len(req.Key), ed25519.PrivateKeySize)
	}
	at, err := gitDir(dir)
	if err != nil {
		return id, err
	}
	store := storeAt(at)
	defer store.Close()
	name := plumbing.NewTagReferenceName(req.Tag)
	if _, err := store.Reference(name); err == nil {
		return id, errors.New("the tag exists: a version is given once")
	}
	commit, err := commitToTag(store, req.Commit)
	if err != nil {
		return id, err
	}
	raw, err := signedTag(commit, req)
	if err != nil {
		return id, err
	}
	if id, err = putObject(store, plumbing.TagObject, raw); err != nil {
		return id, err
	}
	if err := store.SetReference(plumbing.NewHashReference(name, id)); err != nil {
		return id, fmt.Errorf("ref %s: %w", name, err)
	}
	return id, nil
}

// signedTag is the raw tag object, its signature at the end.
func signedTag(commit plumbing.Hash, req TagRequest) ([]byte, error) {
	who, err := req.Tagger.stamp(req.When)
	if err != nil {
		return nil, fmt.Errorf("tagger: %w", err)
	}
	message := strings.TrimSpace(req.Message)
	if message == "" {
		message = req.Tag
	}
	if strings.ContainsAny(message, "\x00\r") || strings.Contains("\n"+message, "\n-----BEGIN ") {
		return nil, errors.New("message: holds a NUL, a carriage return or the start of a signature")
	}
	raw := fmt.Appendf(nil, "object %s\ntype commit\ntag %s\ntagger %s\n\n%s\n",
		commit, req.Tag, who, message)
	signer, err := ssh.NewSignerFromKey(req.Key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	sig, err := sshsig.Sign(bytes.NewReader(raw), signer, sshsig.HashSHA512, namespace)
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	return append(raw, sshsig.Armor(sig)...), nil
}

// stamp is the person and the time as Git writes them.
func (p Person) stamp(when time.Time) (string, error) {
	name, email := strings.TrimSpace(p.Name), strings.TrimSpace(p.Email)
	for _, part := range []string{name, email} {
		if part == "" || strings.ContainsAny(part, "<>\n\x00\r") {
			return "", fmt.Errorf("%q <%q>: want a name and an email without angle brackets", p.Name, p.Email)
		}
	}
	if when.Unix() < 0 {
		return "", fmt.Errorf("time %s: before 1970", when.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("%s <%s> %d +0000", name, email, when.Unix()), nil
}

// ParseKey reads an unencrypted ed25519 private key in OpenSSH's or PKCS's PEM, as ssh-keygen and
// MarshalKey write it.
func ParseKey(text []byte) (ed25519.PrivateKey, error) {
	key, err := ssh.ParseRawPrivateKey(text)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, errors.New("parse key: it has a passphrase: want a key without one")
	}
	if err != nil {
		return nil, errors.New("parse key: not a private key in PEM")
	}
	switch k := key.(type) {
	case *ed25519.PrivateKey:
		return *k, nil
	case ed25519.PrivateKey:
		return k, nil
	default:
		return nil, fmt.Errorf("parse key: %T: want ed25519", key)
	}
}

// MarshalKey is key as an OpenSSH private key file; ssh-keygen and git read it.
func MarshalKey(key ed25519.PrivateKey, comment string) ([]byte, error) {
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return nil, fmt.Errorf("marshal key: %w", err)
	}
	return pem.EncodeToMemory(block), nil
}

// SignerLine is the line of an allowed_signers file that lets principal sign tags with the key pub.
func SignerLine(principal string, pub ed25519.PublicKey) (string, error) {
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("signer line: %w", err)
	}
	line := fmt.Sprintf("%s namespaces=%q %s", principal, namespace, ssh.MarshalAuthorizedKey(key))
	if _, err := ParseAllowedSigners(strings.NewReader(line)); err != nil {
		return "", fmt.Errorf("signer line: principal %q: %w", principal, err)
	}
	return line, nil
}

// InitRepo makes a Git repository at dir with one commit of files on branch main, files and .git both
// written, so that git sees a clean work tree. Executable bits are kept. dir must be missing or empty. It
// returns the commit's name.
func InitRepo(dir string, files fs.FS, author Person, when time.Time) (string, error) {
	id, err := initRepo(dir, files, author, when)
	if err != nil {
		return "", fmt.Errorf("init repository %s: %w", dir, err)
	}
	return id.String(), nil
}

func initRepo(dir string, files fs.FS, author Person, when time.Time) (id plumbing.Hash, err error) {
	who, err := author.stamp(when)
	if err != nil {
		return id, fmt.Errorf("author: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return id, err
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return id, err
	}
	if len(there) > 0 {
		return id, fmt.Errorf("folder holds %q: want it empty", there[0].Name())
	}
	list, err := readFiles(files)
	if err != nil {
		return id, err
	}
	if err := (&Tree{files: newFiles(list)}).WriteTo(dir); err != nil {
		return id, err
	}
	return firstCommit(dir, newFiles(list), who)
}
