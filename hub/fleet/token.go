package fleet

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// Token is what the books know of a join token: all but its secret.
type Token struct {
	ID      []byte             `json:"id"`
	Site    protocol.Site      `json:"site"`
	Agent   protocol.AgentName `json:"agent,omitempty"` // the one name that it is for; empty for any
	Uses    int                `json:"uses"`            // that are left
	Expires time.Time          `json:"expires"`
	Created time.Time          `json:"created"`
	Gateway bool               `json:"gateway,omitempty"` // who joins with it may carry for the site
}

// TokenSpec says what a new token is good for.
type TokenSpec struct {
	Site  protocol.Site
	Agent protocol.AgentName // empty for any name
	Count int                // uses; 1 to TokenUsesMax
	TTL   time.Duration
	// Gateway makes who joins with it a gateway.
	Gateway bool
}

// TokenUsesMax bounds the uses of one token.
const TokenUsesMax = 10000

// NewToken makes a join token from 24 bytes of random, keeps the digest of its secret,
// and returns it without the CA's digest, which is the caller's to fill in. It is the
// only time that the secret is seen.
func NewToken(tx *store.Tx, spec TokenSpec, random io.Reader, now time.Time) (protocol.JoinToken, error) {
	none := protocol.JoinToken{}
	if err := spec.check(); err != nil {
		return none, fmt.Errorf("join token: %w", err)
	}
	b := make([]byte, 8+16)
	if _, err := io.ReadFull(random, b); err != nil {
		return none, fmt.Errorf("join token: random source: %w", err)
	}
	t := protocol.JoinToken{ID: b[:8], Secret: b[8:]}
	sum := sha256.Sum256(t.Secret)
	_, err := tx.Exec(`INSERT INTO join_token (id, secret, site, agent, uses, expires, created, gateway)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		t.ID, sum[:], spec.Site, spec.Agent, spec.Count, store.Millis(now.Add(spec.TTL)), store.Millis(now),
		spec.Gateway)
	if err != nil {
		return none, err
	}
	return t, nil
}

func (s *TokenSpec) check() error {
	if err := s.Site.Check(); err != nil {
		return err
	}
	if s.Agent != "" {
		if err := s.Agent.Check(); err != nil {
			return err
		}
	}
	switch {
	case s.Count < 1 || s.Count > TokenUsesMax:
		return protocol.Errorf(protocol.CodeBadInput, "%d uses, want 1 to %d", s.Count, TokenUsesMax)
	case s.Agent != "" && s.Count != 1:
		return protocol.Errorf(protocol.CodeBadInput, "%d uses for the one agent %q, want 1", s.Count, s.Agent)
	case s.TTL <= 0:
		return protocol.Errorf(protocol.CodeBadInput, "valid for %s, want more than nothing", s.TTL)
	}
	return nil
}

// UseToken takes one use off a token and returns it as it was before. An error has
// CodeRefused and says which of these it is, in this order: unknown, wrong secret, used
// up, expired. None of them costs a use, so the transaction may go on.
func UseToken(tx *store.Tx, id, secret []byte, now time.Time) (Token, error) {
	var kept []byte
	t, err := scanToken(tx.QueryRow("SELECT "+tokenColumns+" FROM join_token WHERE id = ?", id))
	if store.None(err) {
		return Token{}, protocol.Errorf(protocol.CodeRefused, "join token %x: not known to this hub", id)
	}
	if err != nil {
		return Token{}, err
	}
	if err := tx.QueryRow("SELECT secret FROM join_token WHERE id = ?", id).Scan(&kept); err != nil {
		return Token{}, err
	}
	sum := sha256.Sum256(secret)
	switch {
	case subtle.ConstantTimeCompare(kept, sum[:]) != 1:
		return Token{}, protocol.Errorf(protocol.CodeRefused, "join token %x: wrong secret", id)
	case t.Uses <= 0:
		return Token{}, protocol.Errorf(protocol.CodeRefused, "join token %x: used up; ask for a new one", id)
	case !now.Before(t.Expires):
		return Token{}, protocol.Errorf(protocol.CodeRefused, "join token %x: expired on %s; ask for a new one", id,
			t.Expires.Format(time.DateTime))
	}
	_, err = tx.Exec("UPDATE join_token SET uses = uses - 1 WHERE id = ?", id)
	return t, err
}

const tokenColumns = "id, site, agent, uses, expires, created, gateway"

// Tokens returns all tokens, the newest first.
func Tokens(tx *store.Tx) ([]Token, error) {
	rows, err := tx.Query("SELECT " + tokenColumns + " FROM join_token ORDER BY created DESC, id")
	return store.Collect(rows, err, scanToken)
}

// DropToken ends a token; CodeNotFound when there is none.
func DropToken(tx *store.Tx, id []byte) error {
	n, err := store.Changed(tx.Exec("DELETE FROM join_token WHERE id = ?", id))
	if err == nil && n == 0 {
		return protocol.Errorf(protocol.CodeNotFound, "join token %x: not found", id)
	}
	return err
}

// DropOldTokens forgets tokens that expired before then, and returns how many. Until
// then their refusal says why.
func DropOldTokens(tx *store.Tx, then time.Time) (int64, error) {
	return store.Changed(tx.Exec("DELETE FROM join_token WHERE expires < ?", store.Millis(then)))
}

func scanToken(row store.Scanner) (Token, error) {
	var t Token
	var expires, created int64
	err := row.Scan(&t.ID, &t.Site, &t.Agent, &t.Uses, &expires, &created, &t.Gateway)
	t.Expires, t.Created = store.Time(expires), store.Time(created)
	return t, err
}
