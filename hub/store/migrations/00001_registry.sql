-- The registry: plugins, releases, the stages of each, and what may not be undone.
--
-- Times are ms since 1970 by the hub's clock. For PostgreSQL read BYTEA for BLOB.

-- +goose Up
CREATE TABLE plugin (
	name            TEXT   NOT NULL PRIMARY KEY,
	type            TEXT   NOT NULL,
	repository      TEXT   NOT NULL UNIQUE,
	credential      TEXT   NOT NULL, -- the name of a secret, never the secret
	allowed_signers TEXT   NOT NULL,
	description     TEXT   NOT NULL,
	added           BIGINT NOT NULL
);

-- No reference to plugin: releases outlive the registration that made them.
CREATE TABLE release (
	plugin     TEXT   NOT NULL,
	version    TEXT   NOT NULL,
	digest     BLOB,            -- of the sealed release; none while failed
	size       BIGINT NOT NULL, -- of the sealed release, bytes
	repository TEXT   NOT NULL,
	tag        TEXT   NOT NULL,
	tag_object TEXT   NOT NULL,
	commit_id  TEXT   NOT NULL,
	tree       BLOB,
	signer     TEXT   NOT NULL,
	signer_key TEXT   NOT NULL,
	state      TEXT   NOT NULL, -- published, failed, yanked
	created    BIGINT NOT NULL,
	PRIMARY KEY (plugin, version)
);
CREATE UNIQUE INDEX release_digest ON release (digest);

CREATE TABLE release_artifact (
	plugin   TEXT   NOT NULL,
	version  TEXT   NOT NULL,
	platform TEXT   NOT NULL,
	digest   BLOB   NOT NULL,
	size     BIGINT NOT NULL,
	metered  BIGINT NOT NULL,
	PRIMARY KEY (plugin, version, platform),
	FOREIGN KEY (plugin, version) REFERENCES release (plugin, version) ON DELETE CASCADE
);

CREATE TABLE release_stage (
	plugin  TEXT   NOT NULL,
	version TEXT   NOT NULL,
	stage   TEXT   NOT NULL,
	verdict TEXT   NOT NULL, -- ok, failed, skipped, not-run
	detail  TEXT   NOT NULL,
	took_ms BIGINT NOT NULL,
	ended   BIGINT NOT NULL,
	PRIMARY KEY (plugin, version, stage)
);

-- A tag that was accepted once means the same for ever.
CREATE TABLE tag_pin (
	repository TEXT   NOT NULL,
	tag        TEXT   NOT NULL,
	tag_object TEXT   NOT NULL,
	commit_id  TEXT   NOT NULL,
	pinned     BIGINT NOT NULL,
	PRIMARY KEY (repository, tag)
);

-- The highest version that was ever published, kept when the plugin is removed.
CREATE TABLE plugin_highest (
	plugin  TEXT NOT NULL PRIMARY KEY,
	version TEXT NOT NULL
);

-- +goose Down
DROP TABLE plugin_highest;
DROP TABLE tag_pin;
DROP TABLE release_stage;
DROP TABLE release_artifact;
DROP TABLE release;
DROP TABLE plugin;
