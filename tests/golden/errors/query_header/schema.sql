-- name: no_kind
SELECT 1;

-- name: odd :some
SELECT 1;

-- name: 1st :one
SELECT 1;

-- name: two words :one
SELECT 1;
