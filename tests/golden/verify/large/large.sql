-- name: by_key :maybe
-- param id: events.id
-- return e: events.*
SELECT {e.*} FROM {events e} WHERE e.id = :id;

-- name: by_name :many
-- param name: events.name
-- return id: int8
SELECT e.id FROM {events e} WHERE e.name = :name;

-- name: if_named :many
-- param id: events.id
-- param name: parts.name
-- return id: int8
SELECT e.id FROM {events e} WHERE e.id = :id
  /*?if name*/ AND EXISTS (SELECT FROM {parts p} WHERE p.name = :name) /*?end*/;

-- name: small_by_name :many
-- param name: small.name
-- return id: int8
SELECT s.id FROM {small s} WHERE s.name = :name;
