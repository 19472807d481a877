-- name: mistyped :many
-- param id, name, states, limit: text, int8, text[], text
-- param wrong: int9
-- param whole: orders.*
-- return o: orders.*
SELECT {o.*} FROM {orders o}
WHERE o.id = :id AND :name <> o.name AND o.state = ANY(:states) AND o.state = :states
  AND o.id > :wrong AND o.id < :whole
LIMIT :limit;

-- name: stored :exec
-- param state, note: bool, orders.note
INSERT INTO {orders o} (state, note, total) VALUES (:state, :note, :note);
