-- name: nested :many
-- param a, b: int8
-- return o: orders.*
SELECT {o.*} FROM {orders o} WHERE true
  /*?if a*/ AND o.id > :a /*?if b*/ AND o.id < :b /*?end*/ /*?end*/;

-- name: endless :many
-- param a: int8
-- return o: orders.*
SELECT {o.*} FROM {orders o} WHERE true /*?if a*/ AND o.id > :a;

-- name: stray :exec
DELETE FROM {orders o} /*?end*/;

-- name: unknown :exec
DELETE FROM {orders o} /*?when a*/ WHERE true /*?end*/;

-- name: hollow :exec
DELETE FROM {orders o} /*?if a*/ /* nothing */ /*?end*/;

-- name: mixed :many
-- param since: orders.placed_at
-- return o: orders.*
SELECT {o.*} FROM {orders o} WHERE true /*?if since, until*/ AND o.placed_at >= :since /*?end*/;
