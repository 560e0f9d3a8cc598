-- Runs of which a step did not end well for good, until they do or an operator drops them.
-- Event and steps stand in run, which is kept as long.

-- +goose Up
CREATE TABLE dead_letter (
	run      BLOB   NOT NULL PRIMARY KEY, -- the run's id
	step     TEXT   NOT NULL, -- that failed last
	code     BIGINT NOT NULL,
	text     TEXT   NOT NULL,
	received BIGINT NOT NULL,
	bytes    BIGINT NOT NULL,
	state    BIGINT NOT NULL, -- 0 waiting, 1 ordered, 2 taken, 3 refused
	ordered  BIGINT NOT NULL, -- the newest order's ID, 0 for none
	expires  BIGINT NOT NULL,
	reason   TEXT   NOT NULL
) WITHOUT ROWID;
CREATE INDEX dead_letter_received ON dead_letter (received);
CREATE INDEX dead_letter_state ON dead_letter (state);

-- +goose Down
DROP TABLE dead_letter;
