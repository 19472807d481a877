-- name: outer_join :many
-- return l: lines.*
-- return o: orders.*?
SELECT {l.*}, {o.*} FROM {lines l} LEFT JOIN {orders o} ON o.id = l.order_id;
