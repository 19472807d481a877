-- The header of a file belongs to no query.

-- name: find_order :one
-- An order that is not deleted.
-- param id: orders.id
-- return o: orders.*
SELECT {o.*} FROM {orders o} WHERE o.id = :id AND {live o};

-- name: newest_order :maybe
-- return o: orders.*
-- return lines: int8
SELECT {o.*}, (SELECT count(*) FROM {lines} WHERE lines.order_id = o.id)
FROM {orders o} ORDER BY o.id DESC LIMIT 1;

-- name: search_orders :many
-- param states: status[]
-- param since, until: orders.made_at
-- param note: orders.note?
-- param limit: int4
-- return o: orders.*
SELECT {o.*} FROM {orders o}
WHERE o.state = ANY(:states) AND {not_deleted o} -- those that are there
  /*?if since, until*/ AND o.made_at >= :since AND o.made_at < :until /*?end*/
  /*?if note*/ AND o.note IS NOT DISTINCT FROM :note /*?end*/
  /*?if old*/ AND o.made_at < {now o.made_at} - interval '1 year' /*?end*/
ORDER BY /*?by sort newest*/ o.id DESC /*?or oldest: o.id*/ /*?or noted: o.note, o.id*/ /*?end*/
LIMIT :limit;

-- name: totals :many
-- return order_id, total, note: lines.order_id?, numeric!, orders.note
SELECT l.order_id, sum(l.amount), max(o.note)
FROM {lines l} JOIN {orders o} ON o.id = l.order_id GROUP BY ROLLUP (l.order_id);

-- name: add_line :exec
-- param order_id, line, amount: lines.order_id, lines.line, lines.amount
INSERT INTO {lines} (order_id, line, amount) VALUES (:order_id, :line, :amount);

-- name: forget_orders :execrows
-- param ids: orders.id[]
-- plan: custom
UPDATE {orders o} SET deleted_at = {now} WHERE o.id = ANY(:ids);

-- name: clear :exec
DELETE FROM {=lines} /*?if all*/ WHERE true /*?end*/;
