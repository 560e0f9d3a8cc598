-- What agents let go of before the hub had it, in order, and why (protocol.GapWhy).

-- +goose Up
CREATE TABLE lane_gap (
	n           INTEGER PRIMARY KEY,
	agent       TEXT   NOT NULL,
	epoch       BIGINT NOT NULL,
	lane        BIGINT NOT NULL,
	boot        BIGINT NOT NULL, -- of the first record
	sequence    BIGINT NOT NULL,
	to_boot     BIGINT NOT NULL, -- of the last
	to_sequence BIGINT NOT NULL,
	count       BIGINT NOT NULL,
	why         BIGINT NOT NULL,
	received    BIGINT NOT NULL -- ms since 1970
);
CREATE INDEX lane_gap_agent ON lane_gap (agent, n);

-- +goose Down
DROP TABLE lane_gap;
