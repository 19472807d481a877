-- name: both :many
-- param kind: second.kind
-- return i: items.*
-- return s: second.items.*
SELECT {i.*}, {s.*} FROM {items i} JOIN {second.items s} ON s.code = i.second_id
WHERE s.kind = :kind;

-- name: bare :many
-- return id: int8
SELECT id FROM items;
