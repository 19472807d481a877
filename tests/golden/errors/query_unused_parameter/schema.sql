-- name: find :many
-- param id, name: orders.id, orders.name
-- param note: orders.note
-- return o: orders.*
SELECT {o.*} FROM {orders o} WHERE o.id = :id -- and o.name = :name
  /*?if note*/ AND o.note IS NOT NULL /*?end*/;
