-- When the hub takes it that something happened, by its own clock: by how long before the
-- batch the agent's steady clock says that it was. Beside the agent's own time.

-- +goose Up
ALTER TABLE run ADD COLUMN happened BIGINT NOT NULL DEFAULT 0; -- ms since 1970; 0 not known
ALTER TABLE metric ADD COLUMN happened BIGINT NOT NULL DEFAULT 0;
ALTER TABLE log_line ADD COLUMN happened BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit ADD COLUMN happened BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE run DROP COLUMN happened;
ALTER TABLE metric DROP COLUMN happened;
ALTER TABLE log_line DROP COLUMN happened;
ALTER TABLE audit DROP COLUMN happened;
