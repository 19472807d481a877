-- name: two :exec
DELETE FROM {lines l}; DELETE FROM {orders o};
