package source

import (
	"fmt"

	"golang.org/x/mod/semver"
)

// A Pin is what the hub remembers for ever of an accepted tag. A version names one tree once: the same name
// with anything else behind it is an alarm and never an update.
type Pin struct {
	URL       string
	Tag       string
	TagObject string
	Commit    string
	Digest    [32]byte
	Signer    string // the fingerprint
}

// PinOf is the pin of a tree that signer signed.
func PinOf(url string, tree *Tree, signer Signer) Pin {
	return Pin{
		URL:       url,
		Tag:       tree.Tag,
		TagObject: tree.TagObject,
		Commit:    tree.Commit,
		Digest:    tree.Digest,
		Signer:    signer.Fingerprint,
	}
}

// Check holds what was fetched now against the pin: ErrMovedTag when it differs in anything.
func (p Pin) Check(now Pin) error {
	if now == p {
		return nil
	}
	if now.URL != p.URL || now.Tag != p.Tag {
		return fmt.Errorf("check pin: %s %s: the pin is of %s %s",
			shown(now.URL), now.Tag, shown(p.URL), p.Tag)
	}
	for _, part := range []struct{ what, was, is string }{
		{"tag object", p.TagObject, now.TagObject},
		{"commit", p.Commit, now.Commit},
		{"tree", fmt.Sprintf("%x", p.Digest), fmt.Sprintf("%x", now.Digest)},
		{"signer", p.Signer, now.Signer},
	} {
		if part.was != part.is {
			return fmt.Errorf("check pin: %w: %s %s: %s was %s, is %s",
				ErrMovedTag, shown(p.URL), p.Tag, part.what, short(part.was), short(part.is))
		}
	}
	return nil
}

// short is a digest as people read it: twelve hex digits. A fingerprint stays whole.
func short(id string) string {
	if len(id) < 40 || id[0] == 'S' || id[0] == 'O' {
		return id
	}
	return id[:12]
}

// CheckNewer wants tag to be a higher version than highest, the highest accepted so far; an empty highest is
// below all. Going back is a decision of its own and not an update. Error: ErrNotNewer.
func CheckNewer(tag, highest string) error {
	if !isVersion(tag) {
		return fmt.Errorf("check version: tag %q: want a version like v1.2.0", tag)
	}
	if highest == "" {
		return nil
	}
	if !isVersion(highest) {
		return fmt.Errorf("check version: highest %q: want a version like v1.2.0", highest)
	}
	if semver.Compare(canonical(tag), canonical(highest)) <= 0 {
		return fmt.Errorf("check version: %s: %w than %s", tag, ErrNotNewer, highest)
	}
	return nil
}
