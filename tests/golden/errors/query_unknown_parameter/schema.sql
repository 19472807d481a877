-- name: find :many
-- param limit: int8
-- return o: orders.*
SELECT {o.*} FROM {orders o} WHERE o.id = :id AND o.name = ':no' LIMIT :limti;

-- name: slice :one
-- return n: int8
SELECT ('{1,2}'::int8[])[:n];
