-- name: done :exec
COMMIT;

-- name: back :exec
/* to */ rollback TO SAVEPOINT a;

-- name: load :exec
COPY {=orders} FROM STDIN;

-- name: keep :exec
PREPARE a AS SELECT 1;
