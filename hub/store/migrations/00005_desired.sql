-- The sealed desired document of each agent stands in the books, so that it changes in
-- the same commit as the revision that names it, and costs no fsync of its own.
--
-- A document that an older hub kept as a file is sealed anew at the next plan: without a
-- content the hub takes it for another.

-- +goose Up
ALTER TABLE agent ADD COLUMN desired_content BLOB; -- digest of what it asks
CREATE TABLE agent_desired (
	agent  TEXT NOT NULL PRIMARY KEY REFERENCES agent (name) ON DELETE CASCADE,
	sealed BLOB NOT NULL
);

-- +goose Down
DROP TABLE agent_desired;
ALTER TABLE agent DROP COLUMN desired_content;
