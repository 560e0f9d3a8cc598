-- The hub's own small documents.

-- +goose Up
CREATE TABLE entry (
	book  TEXT NOT NULL,
	name  TEXT NOT NULL,
	value BLOB NOT NULL,
	PRIMARY KEY (book, name)
);

-- +goose Down
DROP TABLE entry;
