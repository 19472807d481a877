-- name: fine :many
-- return a: a.*
-- return b: text?
-- return sure: text!
-- return made: text
-- return inner_name: a.name
SELECT {a.*}, b.name, b.name, coalesce(b.name, ''), c.name
FROM {a} JOIN {a c} ON c.id = a.id LEFT JOIN {b} ON b.a_id = a.id;

-- name: left_join :many
-- return a: a.name
-- return b: b.name
SELECT a.name, b.name FROM {a} LEFT JOIN {b} ON b.a_id = a.id;

-- name: right_join :many
-- return a: a.name
-- return b: b.name
SELECT a.name, b.name FROM {a} RIGHT JOIN {b} ON b.a_id = a.id;

-- name: full_join :many
-- return a: a.*
-- return b: b.*
SELECT {a.*}, {b.*} FROM {a} FULL JOIN {b} ON b.a_id = a.id;

-- name: under_another :many
-- return c: text
SELECT c.name FROM {a} LEFT JOIN ({b} JOIN {a c} ON c.id = b.a_id) ON b.a_id = a.id;

-- name: from_a_subquery :many
-- return n: text
SELECT x.n FROM (SELECT b.name::varchar AS n FROM {a} LEFT JOIN {b} ON b.a_id = a.id) AS x;

-- name: from_a_star :many
-- return n: text
SELECT x.name FROM (SELECT b.* FROM {a} LEFT JOIN {b} ON b.a_id = a.id) AS x;

-- name: from_with :many
-- return n: text
WITH x (id, n) AS (SELECT a.id, b.name FROM {a} LEFT JOIN {b} ON b.a_id = a.id)
SELECT x.n FROM x;

-- name: from_union :many
-- return n: text
SELECT a.name FROM {a} UNION ALL SELECT b.name FROM {a} LEFT JOIN {b} ON b.a_id = a.id;

-- name: unqualified :many
-- return a_id: b.a_id
-- return n: text
SELECT a_id, b.name || '' FROM {a} LEFT JOIN {b} ON b.a_id = a.id;

-- name: returning :many
-- param id: a.id
-- return name: text
-- return other: text
UPDATE {b} SET name = '' FROM {a} LEFT JOIN {b c} ON c.a_id = a.id
WHERE a.id = b.a_id AND a.id = :id RETURNING b.name, c.name;

-- name: recursive :many
-- return id: int8
WITH RECURSIVE x (id) AS (SELECT a.id FROM {a} UNION SELECT b.id FROM x JOIN {b} ON b.a_id = x.id)
SELECT x.id FROM x;
