-- name: clash :many
-- param new, new_: int8
-- return class, class_: int8, int8
SELECT :new::int8, :new_::int8;

-- name: with_params :exec
-- param a: int8
DELETE FROM {orders o} WHERE o.id = :a
  /*?by params id*/ AND true /*?or name: AND false*/ /*?end*/;
