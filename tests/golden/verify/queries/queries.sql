-- name: books_of :many
-- Nothing is wrong with this one.
-- param author: books.author_id
-- param mood: books.mood
-- param since, until: books.expires_at
-- param door: books.door
-- return b: books.*
-- return door: opaque(macaddr)
SELECT {b.*}, b.door::text
FROM {books b}
WHERE b.author_id = :author AND {live b} /*?if mood*/ AND b.mood = :mood /*?end*/
  /*?if since, until*/ AND b.expires_at BETWEEN :since AND :until /*?end*/
  /*?if door*/ AND b.door = :door /*?end*/
ORDER BY /*?by sort newest*/ b.id DESC /*?or oldest: b.id*/ /*?end*/;

-- name: misspelt :many
-- param author: books.author_id
-- return id: int8
SELECT b.id FROM {books b}
WHERE b.autor_id = :author;

-- name: within_clauses :many
-- param born: authors.born
-- return id: int8
SELECT a.id FROM {authors a}
WHERE true /*?if born*/ AND a.borm = :born /*?end*/ /*?if aged*/ AND a.age > 1 /*?end*/
ORDER BY /*?by sort newest*/ a.born DESC, a.id /*?or oldest: a.bron, a.id*/ /*?end*/;

-- name: within_braces :many
-- return id: int8
SELECT x.id FROM (SELECT a.id FROM {authors a}) AS x, LATERAL (SELECT 1 FROM {books b} WHERE {live b}) AS y
WHERE y.z;

-- name: untyped :one
-- param any: mood
-- return n: int8
SELECT count(*) FROM {authors a} WHERE pg_typeof(:any) IS NOT NULL;

-- name: param_types :exec
-- param mood: mood
-- param door: books.door
-- param id: authors.id
UPDATE {authors a} SET name = :mood || :door WHERE a.id = :id;

-- name: result_types :one
-- param id: books.id
-- return title: int8
-- return id: int4
-- return mood: text
-- return door: books.door
-- return doors: opaque(macaddr[])
SELECT b.title, b.id, b.mood, b.door, ARRAY[b.door] FROM {books b} WHERE b.id = :id;

-- name: nulls :many
-- param id: books.author_id
-- return note: text
-- return sure: text!
-- return own: books.note
-- return made: text
SELECT b.note, b.note, b.note, b.note || 'x' FROM {books b} WHERE b.author_id = :id;

-- name: from_a_view :many
-- return id: authors.id
-- return born: date!
SELECT v.id, v.born FROM {authors} JOIN pg_class c ON false JOIN LATERAL (SELECT 1 AS id, NULL::date AS born) v ON true;

-- name: number_of_columns :many
-- return name: text
TABLE pg_catalog.pg_am;

-- name: found_by_planning :many
-- return id: int8
SELECT a.id FROM {authors a} LEFT JOIN {books b} ON b.author_id = a.id FOR UPDATE OF b;

-- name: no_plan :exec
LOCK TABLE {=books};
