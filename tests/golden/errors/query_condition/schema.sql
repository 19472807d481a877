-- name: always :many
-- param since, until: orders.placed_at
-- return o: orders.*
SELECT {o.*} FROM {orders o} WHERE o.placed_at >= :since
  /*?if since, until*/ AND o.placed_at < :until /*?end*/;

-- name: maybe_unset :many
-- param since, until: orders.placed_at
-- return o: orders.*
SELECT {o.*} FROM {orders o} WHERE true
  /*?if since*/ AND o.placed_at >= :since AND o.placed_at < :until /*?end*/;

-- name: misspelt :many
-- param since: orders.placed_at
-- return o: orders.*
SELECT {o.*} FROM {orders o} WHERE true /*?if sinse*/ AND o.placed_at >= :since /*?end*/;
