-- name: find :many
-- param a, b, c: int8, text
-- return o: orders.*
SELECT {o.*} FROM {orders o} WHERE o.id IN (:a, :b, :c);

-- name: again :many
-- param id: int8
-- param id: int8
-- return name: text
-- return name: text
SELECT o.name, o.name FROM {orders o} WHERE o.id = :id;
