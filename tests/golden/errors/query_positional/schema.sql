-- name: positional :exec
DELETE FROM {orders o} WHERE o.id = $1 AND o.name = '$2';
