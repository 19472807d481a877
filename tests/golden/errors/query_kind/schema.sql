-- name: gives_rows :exec
-- return o: orders.*
DELETE FROM {orders o} RETURNING {o.*};

-- name: gives_nothing :many
SELECT o.id FROM {orders o};
