-- What agents told: how far each lane came, runs and their steps, and the lanes that
-- are bounded per agent, whose rows lie in rings of slots.

-- +goose Up
CREATE TABLE lane_mark (
	agent    TEXT   NOT NULL,
	epoch    BIGINT NOT NULL,
	lane     BIGINT NOT NULL,
	boot     BIGINT NOT NULL,
	sequence BIGINT NOT NULL,
	stored   BIGINT NOT NULL, -- records kept
	refused  BIGINT NOT NULL, -- records put into quarantine
	missed   BIGINT NOT NULL, -- sequences that never came
	PRIMARY KEY (agent, epoch, lane)
);

-- For PostgreSQL: n BIGINT GENERATED ALWAYS AS IDENTITY.
CREATE TABLE run (
	n               INTEGER PRIMARY KEY, -- rises with arrival
	id              BLOB    NOT NULL UNIQUE,
	workflow        TEXT    NOT NULL,
	agent           TEXT    NOT NULL, -- that fired; empty until its event is here
	revision        BIGINT  NOT NULL,
	started         BIGINT  NOT NULL, -- ms since 1970, by the agent's clock
	started_quality BIGINT  NOT NULL,
	received        BIGINT  NOT NULL,
	worst           BIGINT  NOT NULL, -- 0 nothing, 1 ok, 2 dropped, 3 error
	ended           BIGINT  NOT NULL, -- 0 or 1
	data            BLOB
);
CREATE INDEX run_workflow ON run (workflow);
CREATE INDEX run_agent ON run (agent);

CREATE TABLE run_step (
	run           BIGINT NOT NULL REFERENCES run (n) ON DELETE CASCADE,
	agent         TEXT   NOT NULL,
	step          TEXT   NOT NULL,
	boot          BIGINT NOT NULL,
	sequence      BIGINT NOT NULL,
	type          TEXT   NOT NULL,
	status        BIGINT NOT NULL,
	code          BIGINT NOT NULL,
	text          TEXT   NOT NULL,
	ended         BIGINT NOT NULL,
	ended_quality BIGINT NOT NULL,
	took_us       BIGINT NOT NULL,
	tries         BIGINT NOT NULL,
	last          BIGINT NOT NULL, -- 0 or 1
	data          BLOB,
	PRIMARY KEY (run, agent, step)
) WITHOUT ROWID;

CREATE TABLE metric (
	agent    TEXT   NOT NULL,
	slot     BIGINT NOT NULL,
	epoch    BIGINT NOT NULL,
	boot     BIGINT NOT NULL,
	sequence BIGINT NOT NULL,
	time     BIGINT NOT NULL,
	quality  BIGINT NOT NULL,
	received BIGINT NOT NULL,
	body     BLOB   NOT NULL,
	PRIMARY KEY (agent, slot)
) WITHOUT ROWID;

CREATE TABLE log_line (
	agent    TEXT   NOT NULL,
	slot     BIGINT NOT NULL,
	epoch    BIGINT NOT NULL,
	boot     BIGINT NOT NULL,
	sequence BIGINT NOT NULL,
	time     BIGINT NOT NULL,
	quality  BIGINT NOT NULL,
	received BIGINT NOT NULL,
	plugin   TEXT   NOT NULL,
	workflow TEXT   NOT NULL,
	level    BIGINT NOT NULL,
	text     TEXT   NOT NULL,
	PRIMARY KEY (agent, slot)
) WITHOUT ROWID;

-- For PostgreSQL: n BIGINT GENERATED ALWAYS AS IDENTITY.
CREATE TABLE audit (
	n          INTEGER PRIMARY KEY, -- rises with arrival
	agent      TEXT   NOT NULL,
	epoch      BIGINT NOT NULL,
	boot       BIGINT NOT NULL,
	sequence   BIGINT NOT NULL,
	time       BIGINT NOT NULL,
	quality    BIGINT NOT NULL,
	received   BIGINT NOT NULL,
	plugin     TEXT   NOT NULL,
	workflow   TEXT   NOT NULL,
	capability TEXT   NOT NULL,
	allowed    BIGINT NOT NULL,
	denied     BIGINT NOT NULL,
	subject    TEXT   NOT NULL
);
CREATE INDEX audit_agent ON audit (agent);

CREATE TABLE quarantine (
	agent    TEXT   NOT NULL,
	lane     BIGINT NOT NULL,
	slot     BIGINT NOT NULL,
	epoch    BIGINT NOT NULL,
	boot     BIGINT NOT NULL,
	sequence BIGINT NOT NULL,
	received BIGINT NOT NULL,
	reason   TEXT   NOT NULL,
	body     BLOB   NOT NULL,
	PRIMARY KEY (agent, lane, slot)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE quarantine;
DROP TABLE audit;
DROP TABLE log_line;
DROP TABLE metric;
DROP TABLE run_step;
DROP TABLE run;
DROP TABLE lane_mark;
