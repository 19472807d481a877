-- name: a :exec
-- ⁦
SELECT 1;
