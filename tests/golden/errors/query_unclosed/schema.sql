-- name: string :exec
DELETE FROM {orders} WHERE orders.name = 'it''s;

-- name: dollar :exec
DELETE FROM {orders} WHERE orders.name = $q$ $$;

-- name: comment :exec
DELETE FROM {orders} /* never /* nested */;

-- name: quoted :exec
DELETE FROM {orders} WHERE "name = 'x';

-- name: parenthesis :exec
DELETE FROM {orders} WHERE (orders.id = 1;

-- name: bracket :exec
DELETE FROM {orders} WHERE orders.id = 1];

-- name: branch :many
-- return o: orders.*
SELECT {o.*} FROM {orders o} ORDER BY /*?by sort id*/ o.id /*?or name: o.name || ' */ /*?end*/;
