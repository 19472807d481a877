-- name: too_many :many
-- return id: orders.id
SELECT o.id, o.name FROM {orders o};

-- name: too_few :many
-- return id, name: orders.id, orders.name
WITH x AS (SELECT 1, 2, 3) SELECT count(*) FILTER (WHERE true) AS id FROM {orders o};

-- name: star :many
-- return o: orders.*
SELECT o.* FROM {orders o};

-- name: not_whole :many
-- return o: orders.*
SELECT o.id FROM {orders o};

-- name: not_single :many
-- return id, name: orders.id, orders.name
SELECT o.id, {o.*} FROM {orders o};

-- name: silent :one
-- return id: orders.id
DELETE FROM {orders o};

-- name: changing :many
-- return id, name: orders.id, orders.name
SELECT o.id /*?if named*/, o.name /*?end*/ FROM {orders o};
