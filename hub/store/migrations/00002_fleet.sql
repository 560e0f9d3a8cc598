-- The fleet: agents, their labels, the epochs of all names ever used, join tokens.

-- +goose Up
CREATE TABLE agent (
	name               TEXT   NOT NULL PRIMARY KEY,
	site               TEXT   NOT NULL,
	epoch              BIGINT NOT NULL,
	device             BLOB   NOT NULL, -- protocol.Device, CBOR
	key_fingerprint    TEXT   NOT NULL,
	cert_serial        TEXT   NOT NULL,
	cert_not_after     BIGINT NOT NULL,
	enrolled           BIGINT NOT NULL,
	revoked            BIGINT NOT NULL, -- 0 or 1
	online             BIGINT NOT NULL, -- 0 or 1
	boot               BIGINT NOT NULL, -- of the presence
	session            BIGINT NOT NULL,
	since              BIGINT NOT NULL,
	last_seen          BIGINT NOT NULL,
	reported           BLOB,            -- protocol.Reported, CBOR
	reported_boot      BIGINT NOT NULL,
	reported_sequence  BIGINT NOT NULL,
	desired_revision   BIGINT NOT NULL,
	desired_digest     BLOB,
	desired_size       BIGINT NOT NULL,
	desired_issued     BIGINT NOT NULL
);
CREATE INDEX agent_site ON agent (site);

CREATE TABLE agent_label (
	agent  TEXT NOT NULL REFERENCES agent (name) ON DELETE CASCADE,
	name   TEXT NOT NULL,
	origin TEXT NOT NULL, -- operator or device; the operator's holds where both speak
	value  TEXT NOT NULL,
	PRIMARY KEY (agent, name, origin)
);
CREATE INDEX agent_label_value ON agent_label (name, value);

-- Outlives the agent: a name that comes back gets a higher epoch.
CREATE TABLE agent_epoch (
	name  TEXT   NOT NULL PRIMARY KEY,
	epoch BIGINT NOT NULL
);

CREATE TABLE join_token (
	id      BLOB   NOT NULL PRIMARY KEY,
	secret  BLOB   NOT NULL, -- its SHA-256
	site    TEXT   NOT NULL,
	agent   TEXT   NOT NULL, -- the one name that it is for, or empty
	uses    BIGINT NOT NULL, -- that are left
	expires BIGINT NOT NULL,
	created BIGINT NOT NULL
);

-- +goose Down
DROP TABLE join_token;
DROP TABLE agent_epoch;
DROP TABLE agent_label;
DROP TABLE agent;
