-- name: forget :exec
DELETE FROM {orders};

-- name: forget :exec
DELETE FROM {lines};
