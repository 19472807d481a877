-- name: alias :many
-- return o: orders.*
SELECT {o.*} FROM {orders o} WHERE {live x};

-- name: twice :many
-- return id: orders.id
SELECT a.id FROM {orders a} WHERE {live a} AND EXISTS (SELECT FROM {lines a} WHERE {not_deleted a});

-- name: reserved :exec
DELETE FROM {orders user};
