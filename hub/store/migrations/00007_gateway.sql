-- Gateways: who may carry for its site, and by whom each agent is connected.

-- +goose Up
ALTER TABLE agent ADD COLUMN gateway BIGINT NOT NULL DEFAULT 0; -- 1: it may carry
ALTER TABLE agent ADD COLUMN via TEXT NOT NULL DEFAULT '';      -- a gateway's name; its own line without
ALTER TABLE join_token ADD COLUMN gateway BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE join_token DROP COLUMN gateway;
ALTER TABLE agent DROP COLUMN via;
ALTER TABLE agent DROP COLUMN gateway;
