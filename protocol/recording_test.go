package protocol

import "testing"

func TestRecordPart(t *testing.T) {
	full := make([]byte, ChunkSize)
	for name, c := range map[string]struct {
		part RecordPart
		code Code
	}{
		"first":     {RecordPart{Size: ChunkSize + 5, Data: full}, CodeOK},
		"last":      {RecordPart{Size: ChunkSize + 5, Index: 1, Data: full[:5]}, CodeOK},
		"why not":   {RecordPart{Error: Errorf(CodeRefused, "no")}, CodeOK},
		"nothing":   {RecordPart{}, CodeLimit},
		"too large": {RecordPart{Size: RecordBytesMax + 1, Data: full}, CodeLimit},
		"beyond":    {RecordPart{Size: 5, Index: 1, Data: full[:5]}, CodeBadMessage},
		"short":     {RecordPart{Size: ChunkSize + 5, Data: full[:5]}, CodeBadMessage},
		"long":      {RecordPart{Size: ChunkSize + 5, Index: 1, Data: full[:6]}, CodeBadMessage},
	} {
		err := c.part.Check()
		if (err == nil) != (c.code == CodeOK) || err != nil && CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
}
