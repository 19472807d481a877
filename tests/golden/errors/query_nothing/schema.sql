SELECT 1;
SELECT 2;

-- name: empty :exec
-- Only a comment follows.

/* nothing */;
