-- name: braces :exec
DELETE FROM {orders o} WHERE {alive o} = {} AND {now o.name} AND { AND o.id = 1};
