package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// pluginRecord is plugin run with a file for the recording.
func pluginRecord(c *connection) *cobra.Command {
	var f running
	cmd := &cobra.Command{
		Use:   "record [FOLDER|FILE] --out RECORDING",
		Short: "Ask a plugin once and keep all that it saw, to replay it; no hub is asked",
		Long: "Do what \"stavily plugin run\" does, show what that shows and write a recording: what the\n" +
			"plugin was asked and told, the clock and the randomness that it saw, and what it answered. A\n" +
			"recording is cut before the first secret.",
		Example: "  stavily plugin record plugin.wasm --manifest stavily-plugin.yaml --event event.json " +
			"--out call.rec",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: folderOrFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.out == "" {
				return usage(cmd, errors.New("want --out, the file to write the recording to"))
			}
			if err := tableOrJSON(cmd, c); err != nil {
				return err
			}
			return f.once(cmd, c, here(args))
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&f.out, "out", "", "file to write the recording to")
	return cmd
}

// recorded is where a recording was written, and what it holds.
type recorded struct {
	File  string `json:"file"`
	SizeB int    `json:"size_bytes"`
	Cut   string `json:"cut"` // whole, or where it ends
}

// record writes the recording of a call.
func record(file string, r *wasmhost.Recording) (*recorded, error) {
	b, err := r.Encode()
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	return &recorded{file, len(b), cutText(r)}, err
}

// readModule reads a module as it runs: metered.
func readModule(path string) ([]byte, error) {
	wasm, err := readBounded(path, protocol.ArtifactMax)
	if err != nil {
		return nil, err
	}
	if wasm, err = wasmhost.Metered(wasm); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return wasm, nil
}

func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: more than %d bytes", path, most)
	}
	return b, err
}

func pluginReplay(c *connection) *cobra.Command {
	var module string
	var mounts []string
	var interpreter bool
	cmd := &cobra.Command{
		Use:   "replay RECORDING",
		Short: "Show a plugin again what it was recorded to see; no hub is asked",
		Long: "Start a module, put the recorded requests to it, answer its host calls and its questions for\n" +
			"time and randomness from the recording, and say whether it did the same: the same host calls in\n" +
			"the same order, the same answers byte for byte, the same fuel. Nothing of this machine is touched.",
		Example: "  stavily plugin replay call.rec --module plugin.wasm",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if module == "" {
				return usage(cmd, errors.New("want --module, the plugin that was recorded"))
			}
			r, out, err := replayFile(cmd.Context(), args[0], module, replaying{mounts, interpreter})
			if err != nil {
				return err
			}
			if err := c.print(cmd.OutOrStdout(), out, func(w io.Writer) { showReplay(w, r, &out) }); err != nil {
				return err
			}
			if !out.Held {
				return fmt.Errorf("did not hold: %s", out.Difference)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&module, "module", "", "the module that was recorded, metered or as it was built")
	flags.StringArrayVar(&mounts, "mount", nil, "PATH=ZIP: an archive that it had mounted; may be said again")
	flags.BoolVar(&interpreter, "interpreter", false, "run it in the interpreter, as small machines do")
	return cmd
}

type replaying struct {
	mounts      []string
	interpreter bool
}

func replayFile(ctx context.Context, file, module string, how replaying) (
	r *wasmhost.Recording, out wasmhost.Replayed, err error,
) {
	b, err := readBounded(file, wasmhost.RecordingMax)
	if err != nil {
		return nil, out, err
	}
	if r, err = wasmhost.DecodeRecording(b); err != nil {
		return nil, out, fmt.Errorf("%s: %w", file, err)
	}
	var s wasmhost.Spec
	if s.Wasm, err = readModule(module); err != nil {
		return nil, out, err
	}
	s.Digest = protocol.DigestOf(s.Wasm)
	for _, m := range how.mounts {
		path, archive, _ := strings.Cut(m, "=")
		zipped, err := readBounded(archive, protocol.ArtifactMax)
		if err != nil {
			return nil, out, err
		}
		tree, err := wasmhost.ZipTree(zipped)
		if err != nil {
			return nil, out, fmt.Errorf("%s: %w", archive, err)
		}
		s.Mounts = append(s.Mounts, wasmhost.Mount{Path: path, Tree: tree})
	}
	host, err := wasmhost.New(ctx, wasmhost.Config{Interpreter: how.interpreter})
	if err != nil {
		return nil, out, err
	}
	defer func() { _ = host.Close(ctx) }()
	out, err = host.Replay(ctx, s, r)
	return r, out, err
}

func showReplay(w io.Writer, r *wasmhost.Recording, out *wasmhost.Replayed) {
	row(w, "plugin", r.Plugin, r.Type, r.Module.Short())
	row(w, "start", fmt.Sprint(out.Start, " of fuel"))
	for i := range out.Calls {
		call := &out.Calls[i]
		row(w, "request", call.Request.Kind, fmt.Sprint(call.Answer.Usage.Fuel, " of fuel"))
		for _, h := range call.HostCalls {
			told := string(wasmhost.ToJSON(h.OK))
			if h.Code != protocol.CodeOK {
				told = h.Code.String() + ": " + h.Text
			}
			row(w, "host call", h.Name, string(wasmhost.ToJSON(h.Args)), told)
		}
		showAnswer(w, &call.Answer)
	}
	verdict := "held"
	if !out.Held {
		verdict = "did not hold: " + out.Difference
	}
	row(w, "replay", verdict, cutText(r))
}

func showAnswer(w io.Writer, a *wasmhost.Answer) {
	switch {
	case a.Error != nil:
		row(w, "answer", a.Error.Code, a.Error.Text)
	case len(a.Events) > 0 || a.State != nil || a.Next.AfterMS > 0:
		for _, e := range a.Events {
			row(w, "event", string(wasmhost.ToJSON(e)))
		}
		row(w, "answer", fmt.Sprint("state ", string(wasmhost.ToJSON(a.State))),
			fmt.Sprint("next in ", a.Next.AfterMS, " ms"))
	default:
		row(w, "answer", string(wasmhost.ToJSON(a.Data)))
	}
}

func cutText(r *wasmhost.Recording) string {
	switch r.Cut {
	case wasmhost.CutNot:
		return "whole"
	case wasmhost.CutSecret:
		return "cut before a secret"
	case wasmhost.CutFull:
		return "cut where it was full"
	}
	return string(r.Cut)
}
