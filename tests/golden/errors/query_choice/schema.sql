-- name: one_branch :many
-- return o: orders.*
SELECT {o.*} FROM {orders o} ORDER BY /*?by sort newest*/ o.id /*?end*/;

-- name: same_label :many
-- return o: orders.*
SELECT {o.*} FROM {orders o} ORDER BY /*?by sort id*/ o.id /*?or id: o.name*/ /*?end*/;

-- name: outside :exec
DELETE FROM {orders o} /*?or id: WHERE true*/;

-- name: behind :many
-- return o: orders.*
SELECT {o.*} FROM {orders o} ORDER BY /*?by sort id*/ o.id /*?or name: o.name*/ DESC /*?end*/;

-- name: other_labels :many
-- return id: orders.id
SELECT /*?by sort id*/ o.id /*?or line: o.id + 1*/ /*?end*/
FROM {orders o} ORDER BY /*?by sort line*/ o.id /*?or id: o.name*/ /*?end*/;
