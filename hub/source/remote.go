package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
)

// This file speaks Git's smart protocol, version 0, whatever carries it.

const (
	uploadPack = "git-upload-pack"
	tagPrefix  = "refs/tags/"
)

// readRefs reads the remote's list of refs, bounded while it arrives.
func readRefs(r io.Reader, lim Limits) (*packp.AdvRefs, error) {
	in := bounded(r, "bytes of the remote's refs", lim.RefBytes)
	adv := packp.NewAdvRefs()
	err := adv.Decode(in)
	var said *pktline.ErrorLine
	switch {
	case in.err != nil:
		return nil, in.err
	case errors.As(err, &said):
		return nil, remoteError(said.Text)
	case errors.Is(err, packp.ErrEmptyAdvRefs):
		return adv, nil
	case err != nil:
		return nil, fmt.Errorf("refs: %w", clipped(err))
	}
	if formats := adv.Capabilities.Get("object-format"); len(formats) > 0 && formats[0] != "sha1" {
		return nil, fmt.Errorf("refs: object format %q: want sha1", clip(formats[0]))
	}
	return adv, nil
}

// remoteError sorts the remote's own words.
func remoteError(text string) error {
	low := strings.ToLower(text)
	for _, hint := range []string{"not found", "does not exist", "does not appear to be a git repository"} {
		if strings.Contains(low, hint) {
			return fmt.Errorf("repository: %w: remote says %q", ErrNotFound, clip(text))
		}
	}
	return fmt.Errorf("remote says %q", clip(text))
}

// clip keeps a stranger's words short enough to log.
func clip(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > 200 {
		text = text[:200]
	}
	return text
}

func clipped(err error) error {
	if text := err.Error(); len(text) > 300 {
		return fmt.Errorf("%q", clip(text))
	}
	return err
}

func tagsOf(adv *packp.AdvRefs) map[string]plumbing.Hash {
	out := make(map[string]plumbing.Hash)
	for name, id := range adv.References {
		if short, ok := strings.CutPrefix(name, tagPrefix); ok {
			out[short] = id
		}
	}
	return out
}

// packRequest asks for one object and what it reaches, one commit deep: no other tag, no history.
func packRequest(adv *packp.AdvRefs, id plumbing.Hash) (*packp.UploadPackRequest, error) {
	req := packp.NewUploadPackRequest()
	req.Wants = []plumbing.Hash{id}
	caps := []capability.Capability{capability.OFSDelta, capability.NoProgress}
	if adv.Capabilities.Supports(capability.Sideband64k) {
		caps = append(caps, capability.Sideband64k)
	} else {
		caps = append(caps, capability.Sideband)
	}
	if adv.Capabilities.Supports(capability.Shallow) {
		caps = append(caps, capability.Shallow)
		req.Depth = packp.DepthCommits(1)
	}
	for _, c := range caps {
		if !adv.Capabilities.Supports(c) {
			continue
		}
		if err := req.Capabilities.Set(c); err != nil {
			return nil, fmt.Errorf("capability %s: %w", c, err)
		}
	}
	return req, nil
}

// encodeRequest is the whole of what the client says.
func encodeRequest(req *packp.UploadPackRequest) ([]byte, error) {
	var out bytes.Buffer
	if err := req.UploadRequest.Encode(&out); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	if err := pktline.NewEncoder(&out).EncodeString("done\n"); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	return out.Bytes(), nil
}

// readAnswer reads the remote's answer to req, bounded while it arrives.
func readAnswer(r io.Reader, req *packp.UploadPackRequest, lim Limits) (objects, error) {
	in := bounded(r, "bytes of the pack", lim.PackBytes)
	answer := packp.NewUploadPackResponse(req)
	if err := answer.Decode(io.NopCloser(in)); err != nil {
		return nil, firstOf(in.err, fmt.Errorf("answer: %w", clipped(err)))
	}
	var pack io.Reader = answer
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		pack = sideband.NewDemuxer(sideband.Sideband64k, answer)
	case req.Capabilities.Supports(capability.Sideband):
		pack = sideband.NewDemuxer(sideband.Sideband, answer)
	}
	objs, err := readPack(pack, lim)
	if err != nil {
		return nil, firstOf(in.err, err)
	}
	return objs, nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// boundedReader fails, and goes on failing, once more than limit bytes came.
type boundedReader struct {
	r     io.Reader
	what  string
	limit int64
	got   int64
	err   error // the *LimitError, kept because decoders above swallow it
}

func bounded(r io.Reader, what string, limit int64) *boundedReader {
	return &boundedReader{r: r, what: what, limit: limit}
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	b.got += int64(n)
	if b.got > b.limit {
		b.err = &LimitError{What: b.what, Limit: b.limit, Got: b.got}
		return 0, b.err
	}
	return n, err
}

var _ io.Reader = (*boundedReader)(nil)
