-- The steps that come with a run stand in its row: one row for a run that is told as a
-- whole, which most are. A step that comes later has a row of run_step, as all had before.

-- +goose Up
ALTER TABLE run ADD COLUMN steps BLOB; -- an array of (agent, mark, protocol.Result), CBOR

-- +goose Down
ALTER TABLE run DROP COLUMN steps;
