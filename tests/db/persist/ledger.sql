-- What stores write: by a key of their own, and in two tables at once.

-- name: keep_entry :execrows
-- param account, seq, payload: entries.account, entries.seq, entries.payload
INSERT INTO {entries e} (account, seq, payload) VALUES (:account, :seq, :payload) ON CONFLICT DO NOTHING;

-- name: add :execrows
-- param name: accounts.name
-- param n: int8
UPDATE {accounts a} SET total = a.total + :n WHERE a.name = :name;

-- name: slow_entry :exec
-- An entry that waits for an advisory lock first.
-- param account, seq: entries.account, entries.seq
INSERT INTO {entries e} (account, seq, payload)
SELECT :account, :seq, 'slow' FROM pg_advisory_xact_lock(7) AS l;
