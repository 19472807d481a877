-- name: sorted :many
-- param sort: int8
-- return o: orders.*
SELECT {o.*} FROM {orders o} WHERE o.id > :sort
ORDER BY /*?by sort id*/ o.id /*?or name: o.name*/ /*?end*/;
