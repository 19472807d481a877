-- name: unknown_table :many
-- param id: bokos.id
-- param name: orders.nam
-- param place: other.orders.id
-- return o: ordres.*
SELECT o.id FROM {odrers o} WHERE o.id = :id AND o.name = :name AND {now o.placed} = :place;
