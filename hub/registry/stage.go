package registry

import (
	"slices"
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// StageName is one stage on the way from a tag to a published release (P-07).
type StageName string

// The stages, in the order in which a release goes through them.
const (
	StageFetch         StageName = "fetch"
	StageSignature     StageName = "signature"
	StageManifest      StageName = "manifest"
	StageCompatibility StageName = "compatibility"
	StageScan          StageName = "scan"
	StageBuild         StageName = "build"
	StageTest          StageName = "test"
	StageVerify        StageName = "verify"
	StageMeter         StageName = "meter"
	StageEngines       StageName = "engines"
	StageSeal          StageName = "seal"
	StageKeep          StageName = "keep"
)

// StageNames returns all stages in order.
func StageNames() []StageName {
	return []StageName{
		StageFetch, StageSignature, StageManifest, StageCompatibility, StageScan, StageBuild, StageTest,
		StageVerify,
		StageMeter, StageEngines, StageSeal, StageKeep,
	}
}

// Verdict is how a stage ended.
type Verdict string

// The verdicts.
const (
	StageOK      Verdict = "ok"
	StageFailed  Verdict = "failed"
	StageSkipped Verdict = "skipped" // nothing to do, and detail says why
	StageNotRun  Verdict = "not-run" // an earlier one failed, or it is under way
)

// detailMax bounds the text of a stage in bytes; what is over is cut from the middle.
const detailMax = 16 << 10

// Stage is the verdict of one stage on one version of a plugin.
type Stage struct {
	Name    StageName `json:"name"`
	Verdict Verdict   `json:"verdict"`
	Detail  string    `json:"detail,omitempty"`
	TookMS  int64     `json:"took_ms"`
	Ended   time.Time `json:"ended"`
}

// SetStage keeps s in place of what its stage had. The error has CodeBadInput for a
// stage or verdict that is not known.
func SetStage(tx *store.Tx, plugin protocol.PluginName, version string, s Stage) error {
	if !slices.Contains(StageNames(), s.Name) {
		return protocol.Errorf(protocol.CodeBadInput, "%s@%s: stage %q: not known", plugin, version, s.Name)
	}
	if !slices.Contains([]Verdict{StageOK, StageFailed, StageSkipped, StageNotRun}, s.Verdict) {
		return protocol.Errorf(protocol.CodeBadInput, "%s@%s: stage %s: verdict %q: not known", plugin, version,
			s.Name, s.Verdict)
	}
	_, err := tx.Exec(`INSERT INTO release_stage (plugin, version, stage, verdict, detail, took_ms, ended)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (plugin, version, stage) DO UPDATE SET verdict = excluded.verdict,
		detail = excluded.detail, took_ms = excluded.took_ms, ended = excluded.ended`,
		plugin, version, string(s.Name), string(s.Verdict), cutMiddle(s.Detail), s.TookMS, store.Millis(s.Ended))
	return err
}

// ClearStages forgets the verdicts on one version, before it is tried again.
func ClearStages(tx *store.Tx, plugin protocol.PluginName, version string) error {
	_, err := tx.Exec("DELETE FROM release_stage WHERE plugin = ? AND version = ?", plugin, version)
	return err
}

// Stages returns every stage of one version in order; those without a verdict are
// not-run.
func Stages(tx *store.Tx, plugin protocol.PluginName, version string) ([]Stage, error) {
	rows, err := tx.Query(`SELECT stage, verdict, detail, took_ms, ended FROM release_stage
		WHERE plugin = ? AND version = ?`, plugin, version)
	kept, err := store.Collect(rows, err, func(row store.Scanner) (Stage, error) {
		var s Stage
		var ended int64
		err := row.Scan(&s.Name, &s.Verdict, &s.Detail, &s.TookMS, &ended)
		s.Ended = store.Time(ended)
		return s, err
	})
	if err != nil {
		return nil, err
	}
	var all []Stage
	for _, name := range StageNames() {
		i := slices.IndexFunc(kept, func(s Stage) bool { return s.Name == name })
		if i < 0 {
			all = append(all, Stage{Name: name, Verdict: StageNotRun})
			continue
		}
		all = append(all, kept[i])
	}
	return all, nil
}

// cutMiddle keeps the beginning and the end of a long text: a build's first and last
// lines say most.
func cutMiddle(s string) string {
	if len(s) <= detailMax {
		return s
	}
	return s[:detailMax/4] + "\n...\n" + s[len(s)-detailMax*3/4+5:]
}
