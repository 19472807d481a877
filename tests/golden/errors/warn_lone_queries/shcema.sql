-- name: forget :exec
DELETE FROM {orders};
