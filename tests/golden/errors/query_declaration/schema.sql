-- name: declarations :one
-- param id int8
-- params name: text
-- return: int8
-- returns total: numeric
-- plan: generic
-- return total: orders.total
SELECT o.total FROM {orders o} WHERE o.id = 1;

-- name: late :exec
-- A blank line ends a header.

-- param id: int8
-- plan: custom
DELETE FROM {orders o};
