-- Queries over the shop: one of every kind that programs write. tests/db/generated/query_*_test.c runs
-- them all.

-- ---- rows, joins and results ----

-- name: customer_by_email :one
-- The customer of an address, whatever its case.
-- param email: customers.email
-- return c: customers.*
SELECT {c.*} FROM {customers c} WHERE lower(c.email) = lower(:email) AND {live c};

-- name: find_customer :maybe
-- param id: customers.id
-- return c: customers.*
SELECT {c.*} FROM {customers c} WHERE c.id = :id AND {live c};

-- name: all_customers :many
-- return c: customers.*
SELECT {c.*} FROM {customers c} WHERE {not_deleted c} ORDER BY c.id;

-- name: each_customer :iter
-- One at a time.
-- param from: customers.id
-- return c: customers.*
-- return orders: int8
SELECT {c.*}, (SELECT count(*) FROM {orders o} WHERE o.customer_id = c.id)
FROM {customers c} WHERE c.id >= :from /*?if only_live*/ AND {live c} /*?end*/ ORDER BY c.id;

-- name: orders_with_customer :many
-- Two whole rows side by side.
-- param status: orders.status
-- return o: orders.*
-- return c: customers.*
SELECT {o.*}, {c.*}
FROM {orders o} JOIN {customers c} ON c.id = o.customer_id
WHERE o.status = :status AND {live c}
ORDER BY o.id;

-- name: order_totals :many
-- return id, lines, quantity, amount: orders.id, int8, int8, numeric
-- return o: orders.*
SELECT o.id, count(l.line), coalesce(sum(l.quantity), 0), coalesce(sum(l.amount), 0), {o.*}
FROM {orders o} LEFT JOIN {order_lines l} ON l.order_id = o.id
GROUP BY o.id ORDER BY o.id;

-- name: customers_and_orders :many
-- An outer join: what comes of the order may be NULL, also what is NOT NULL in its table.
-- return name: customers.name
-- return order_id, status, total, currency: orders.id?, orders.status?, orders.total?, orders.currency?
SELECT c.name, o.id, o.status, o.total, o.currency
FROM {customers c} LEFT JOIN {orders o} ON o.customer_id = c.id
WHERE {live c} ORDER BY c.id, o.id;

-- name: full_join :many
-- return customer, product: customers.name?, products.name?
SELECT c.name, p.name FROM {customers c} FULL JOIN {products p} ON p.name = c.name
ORDER BY c.name NULLS LAST, p.name;

-- name: notes_of_orders :many
-- The condition makes a nullable column sure.
-- return id, note: orders.id, orders.note!
SELECT o.id, o.note FROM {orders o} WHERE o.note IS NOT NULL ORDER BY o.id;

-- name: newest_order_of_each :many
-- return customer_id, order_id, placed_at: orders.customer_id, orders.id, orders.placed_at
SELECT DISTINCT ON (o.customer_id) o.customer_id, o.id, o.placed_at
FROM {orders o} ORDER BY o.customer_id, o.created_at DESC, o.id DESC;

-- name: last_two_orders :many
-- return name: customers.name
-- return order_id: int8?
SELECT c.name, recent.id
FROM {customers c} LEFT JOIN LATERAL (
    SELECT o.id FROM {orders o} WHERE o.customer_id = c.id ORDER BY o.id DESC LIMIT 2
) AS recent ON true
WHERE {live c} ORDER BY c.id, recent.id DESC;

-- name: customers_who_bought :many
-- param product: products.id
-- return name: customers.name
SELECT c.name FROM {customers c}
WHERE EXISTS (
    SELECT 1 FROM {orders o} JOIN {order_lines l} ON l.order_id = o.id
    WHERE o.customer_id = c.id AND l.product_id = :product
) ORDER BY c.name;

-- name: customers_without_orders :many
-- return name: customers.name
SELECT c.name FROM {customers c}
WHERE NOT EXISTS (SELECT FROM {orders o} WHERE o.customer_id = c.id) AND {live c} ORDER BY c.name;

-- name: names_of_both :many
-- return kind, name: text, text
SELECT 'customer', c.name FROM {customers c} WHERE {live c}
UNION ALL
SELECT 'product', p.name FROM {products p} WHERE {live p}
ORDER BY 1, 2;

-- name: same_pairs :many
-- A table joined with itself.
-- return first, second: customers.id, customers.id
SELECT a.id, b.id FROM {customers a} JOIN {customers b} ON b.id > a.id ORDER BY a.id, b.id;

-- name: shelf_words :many
-- Names that C and SQL keep for themselves.
-- param class, user: shelf_labels.class, shelf_labels.user
-- return conn, class, default: shelf_labels.conn, shelf_labels.class, shelf_labels.default
-- return order, user: shelf_labels.order, shelf_labels.user
SELECT s.conn, s.class, s."default", s."order", s."user"
FROM {shelf_labels s} WHERE s.class = :class AND s."user" = :user;

-- ---- groups, windows, recursion ----

-- name: category_tree :many
-- return id, path, depth: categories.id, text, int4
WITH RECURSIVE tree (id, path, depth) AS (
    SELECT c.id, c.name, 0 FROM {categories c} WHERE c.parent_id IS NULL
    UNION ALL
    SELECT c.id, t.path || ' > ' || c.name, t.depth + 1
    FROM {categories c} JOIN tree t ON t.id = c.parent_id
)
SELECT t.id, t.path, t.depth FROM tree t ORDER BY t.path;

-- name: count_down :many
-- param start: int4
-- return n: int4
WITH RECURSIVE n (i) AS (
    SELECT :start UNION ALL SELECT n.i - 1 FROM n WHERE n.i > 1
)
SELECT n.i FROM n ORDER BY n.i DESC;

-- name: running_totals :many
-- return id, total, running, place: orders.id, orders.total, numeric, int8
SELECT o.id, o.total,
       sum(o.total) OVER (PARTITION BY o.customer_id ORDER BY o.id ROWS UNBOUNDED PRECEDING),
       row_number() OVER w
FROM {orders o} WINDOW w AS (ORDER BY o.total DESC, o.id)
ORDER BY o.id;

-- name: change_of_price :many
-- return name, price, before: products.name, products.price, numeric?
SELECT p.name, p.price, lag(p.price) OVER (ORDER BY p.price, p.name)
FROM {products p} WHERE {live p} ORDER BY p.price, p.name;

-- name: status_counts :one
-- return open, paid, all_orders: int8, int8, int8
SELECT count(*) FILTER (WHERE o.status = 'open'),
       count(*) FILTER (WHERE o.status = 'paid'), count(*)
FROM {orders o};

-- name: sales_cube :many
-- return currency, status, total: orders.currency?, orders.status?, numeric
SELECT o.currency, o.status, sum(o.total)
FROM {orders o} GROUP BY GROUPING SETS ((o.currency, o.status), (o.currency), ())
ORDER BY o.currency NULLS LAST, o.status NULLS LAST;

-- name: big_spenders :many
-- param at_least: numeric
-- return customer_id, spent: orders.customer_id, numeric
SELECT o.customer_id, sum(o.total) FROM {orders o}
GROUP BY o.customer_id HAVING sum(o.total) >= :at_least ORDER BY 2 DESC, 1;

-- name: median_price :one
-- return median: float8
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY p.price::float8) FROM {products p} WHERE {live p};

-- name: prices_as_values :many
-- param factor: numeric
-- return label, price: text, numeric
SELECT v.label, v.price * :factor
FROM (VALUES ('low', 1.0), ('high', 2.5)) AS v (label, price) ORDER BY v.price;

-- ---- json, arrays, text ----

-- name: products_with_attribute :many
-- The operators ?, ?| and ?& are not clauses.
-- param key, any, every: text, text[], text[]
-- return name: products.name
SELECT p.name FROM {products p}
WHERE p.attributes ? :key AND p.attributes ?| :any AND p.attributes ?& :every
ORDER BY p.name;

-- name: products_containing :many
-- param attributes: jsonb
-- return name, colour, size: products.name, text?, text?
SELECT p.name, p.attributes ->> 'colour', p.attributes #>> '{size,width}'
FROM {products p} WHERE p.attributes @> :attributes ORDER BY p.name;

-- name: products_by_path :many
-- param least: jsonb
-- return name: products.name
SELECT p.name FROM {products p}
WHERE p.attributes @? '$.size ? (@.width > 2)'
   OR jsonb_path_exists(p.attributes, '$.weight ? (@ >= $least)', :least)
ORDER BY p.name;

-- name: set_attribute :execrows
-- param id, path, value: products.id, text[], jsonb
UPDATE {products p} SET attributes = jsonb_set(p.attributes, :path, :value) WHERE p.id = :id;

-- name: drop_attributes :one
-- param id, keys: products.id, text[]
-- return attributes: products.attributes
UPDATE {products p} SET attributes = p.attributes - :keys WHERE p.id = :id RETURNING p.attributes;

-- name: order_document :one
-- param id: orders.id
-- return document: jsonb
SELECT jsonb_build_object('id', o.id, 'lines', coalesce(
    (SELECT jsonb_agg(jsonb_build_array(l.line, l.quantity) ORDER BY l.line)
     FROM {order_lines l} WHERE l.order_id = o.id), '[]'))
FROM {orders o} WHERE o.id = :id;

-- name: products_by_id :many
-- param ids: products.id[]
-- return p: products.*
SELECT {p.*} FROM {products p} WHERE p.id = ANY(:ids) ORDER BY p.name;

-- name: orders_not_in :many
-- param statuses: orders.status[]
-- return id, status: orders.id, orders.status
SELECT o.id, o.status FROM {orders o} WHERE o.status <> ALL(:statuses) ORDER BY o.id;

-- name: tags_between :many
-- Slices and casts beside parameters: the colons of [2:3] and ::int4 are no parameters.
-- param first, last: int4
-- return name, some, fixed, upto: products.name, text[], text[], text[]
SELECT p.name, p.tags[:first : :last], p.tags[2:3], p.tags[(1)::int4:2::int4]
FROM {products p} WHERE cardinality(p.tags) > 0 ORDER BY p.name;

-- name: tag_counts :many
-- return tag, times: text, int8
SELECT tag, count(*) FROM {products p}, unnest(p.tags) AS tag GROUP BY tag ORDER BY 2 DESC, 1;

-- name: add_tags :one
-- param id, tags: products.id, products.tags
-- return tags: products.tags
UPDATE {products p} SET tags = (
    SELECT coalesce(array_agg(DISTINCT t ORDER BY t), '{}') FROM unnest(p.tags || :tags) AS t)
WHERE p.id = :id RETURNING p.tags;

-- name: arrays_back :one
-- param numbers, flags, times: int8[], bool[]?, timestamptz[]
-- return numbers, flags, times: int8[], bool[]?, timestamptz[]
SELECT :numbers::int8[], :flags::bool[], :times::timestamptz[];

-- name: history_of :one
-- An enum as a parameter has no type until it stands beside a column or is cast.
-- param id, status: orders.id, orders.status
-- return history: order_status[]
UPDATE {orders o} SET history = o.history || :status::{=order_status}, status = :status, updated_at = {now}
WHERE o.id = :id RETURNING o.history;

-- name: search_words :many
-- param words: text
-- return name, words: products.name, products.words
SELECT p.name, p.words::text
FROM {products p} WHERE p.words @@ plainto_tsquery('simple', :words) AND {live p} ORDER BY p.name;

-- name: literals :one
-- Nothing in here is a parameter, a clause or an expansion: :no, {no}, /*?if no*/.
-- param yes: text
-- return a, b, c, d, e, f, g: text
SELECT ':no {no} /*?if no*/ -- no ''quoted''', /* :no {no} /* nested :no */ */ E'it\'s :no\\',
       $$:no {no} $1 'no'$$, $no$:no $$ :no$no$, -- :no {no} 'no
       "x:no"."{no}", U&'\003a no', :yes || ':no'
FROM (SELECT 'quoted'::text AS "{no}") AS "x:no";

-- name: casts :one
-- param at, amount, id: text, text, text
-- return at, amount, id, zone: timestamptz, numeric, uuid, timestamp
SELECT :at::timestamptz, :amount::numeric(12,2), CAST(:id AS uuid),
       :at::timestamptz AT TIME ZONE 'UTC';

-- name: matching :many
-- param prefix, pattern: text
-- return name: customers.name
SELECT c.name FROM {customers c}
WHERE c.name LIKE :prefix || '%' OR c.email ~* :pattern ORDER BY c.name;

-- name: format_names :one
-- return text: text
SELECT string_agg(format('%s <%s>', c.name, c.email), E',\n' ORDER BY c.id)
FROM {customers c} WHERE {live c};

-- ---- time ----

-- name: orders_of_month :many
-- param month: date
-- return day, orders: timestamptz, int8
SELECT date_trunc('day', o.created_at), count(*) FROM {orders o}
WHERE o.created_at >= :month::date AND o.created_at < :month::date + interval '1 month'
GROUP BY 1 ORDER BY 1;

-- name: opening_hours :many
-- return name, open_for, handled_at: warehouses.name, interval, time
SELECT w.name, w.closes - w.opens, (w.opens + w.handling)::time FROM {warehouses w} ORDER BY w.id;

-- name: ages :many
-- param today: date
-- return name, days: customers.name, int4?
SELECT c.name, :today::date - c.birthday FROM {customers c} ORDER BY c.id;

-- name: live_carts :many
-- A timestamp without a zone: {now} follows the column.
-- return id, left: carts.id, interval?
SELECT c.id, c.expires_at - {now c.expires_at} FROM {carts c} WHERE {live c} ORDER BY c.id;

-- name: put_off :execrows
-- param id, until: carts.id, carts.expires_at?
UPDATE {carts c} SET expires_at = :until, updated_at = {now c.updated_at} WHERE c.id = :id;

-- ---- writing ----

-- name: add_customer :one
-- param email, name, phone: customers.email, customers.name, customers.phone?
-- return id, created_at: customers.id, customers.created_at
INSERT INTO {customers c} (email, name, phone) VALUES (:email, :name, :phone)
RETURNING c.id, c.created_at;

-- name: put_setting :one
-- param key, value: settings.key, settings.value?
-- return s: settings.*
INSERT INTO {settings s} (key, value) VALUES (:key, :value)
ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value, updated_at = {now}
RETURNING {s.*};

-- name: add_setting_once :maybe
-- param key, value: settings.key, settings.value?
-- return key: settings.key
INSERT INTO {settings s} (key, value) VALUES (:key, :value) ON CONFLICT DO NOTHING RETURNING s.key;

-- name: remove_setting :exec
-- param key: settings.key
DELETE FROM {settings s} WHERE s.key = :key;

-- name: clear_settings :execrows
DELETE FROM {=settings};

-- name: copy_cart :many
-- One statement: the order, its lines out of the cart, and the empty cart.
-- param cart, customer, warehouse: carts.id, customers.id, warehouses.id
-- return l: order_lines.*
WITH bought AS (
    DELETE FROM {cart_items i} WHERE i.cart_id = :cart RETURNING i.product_id, i.quantity
), made AS (
    INSERT INTO {orders o} (customer_id, currency) VALUES (:customer, 'EUR') RETURNING o.id
)
INSERT INTO {order_lines l} (order_id, line, product_id, warehouse_id, quantity, price)
SELECT made.id, row_number() OVER (ORDER BY p.sku), b.product_id, :warehouse, b.quantity, p.price
FROM made, bought b JOIN {products p} ON p.id = b.product_id
RETURNING {l.*};

-- name: reserve :maybe
-- param product, warehouse, quantity: stock.product_id, stock.warehouse_id, int4
-- return s: stock.*
UPDATE {stock s} SET reserved = s.reserved + :quantity, version = s.version + 1
WHERE s.product_id = :product AND s.warehouse_id = :warehouse AND s.available >= :quantity
RETURNING {s.*};

-- name: total_orders :execrows
UPDATE {orders o} SET total = sums.amount
FROM (SELECT l.order_id, sum(l.amount) AS amount FROM {order_lines l} GROUP BY l.order_id) AS sums
WHERE sums.order_id = o.id;

-- name: forget_products :execrows
-- param ids: products.id[]
UPDATE {products p} SET deleted_at = {now} WHERE p.id = ANY(:ids) AND {not_deleted p};

-- name: next_invoice :maybe
-- The next draft nobody else works on.
-- return i: invoices.*
SELECT {i.*} FROM {invoices i} WHERE i.status = 'draft' AND {live i}
ORDER BY i.created_at, i.id LIMIT 1 FOR UPDATE SKIP LOCKED;

-- name: take_invoices :many
-- param most: int4
-- return id, number: invoices.id, invoices.number
WITH chosen AS (
    SELECT i.id FROM {invoices i} WHERE i.status = 'draft' AND {not_deleted i}
    ORDER BY i.id LIMIT :most FOR UPDATE OF i SKIP LOCKED
)
UPDATE {invoices i} SET status = 'open', version = i.version + 1
FROM chosen WHERE chosen.id = i.id
RETURNING i.id, i.number;

-- name: log_many :execrows
-- param actors, changes: text[], jsonb[]
INSERT INTO {audit_log a} (actor, change)
SELECT * FROM unnest(:actors::text[], :changes::jsonb[]);

-- name: last_changes :many
-- param actor, most: audit_log.actor, int8
-- return actor, change: audit_log.actor, audit_log.change
SELECT a.actor, a.change FROM {audit_log a} WHERE a.actor = :actor ORDER BY a.at DESC, a.id LIMIT :most;

-- name: visits :many
-- return path, visitors: page_views.path, int8
SELECT v.path, count(DISTINCT v.visitor) FROM {page_views v} GROUP BY v.path ORDER BY v.path;

-- name: wished_products :many
-- param customer: customers.id
-- return title, product: wishlists.title, products.name
SELECT w.title, p.name
FROM {wishlists w} CROSS JOIN LATERAL unnest(w.products) WITH ORDINALITY AS wish (id, place)
JOIN {products p} ON p.id = wish.id AND {live p}
WHERE w.customer_id = :customer AND {live w} ORDER BY w.title, wish.place;

-- name: every_type :one
-- param id: type_samples.id
-- return t: type_samples.*
SELECT {t.*} FROM {type_samples t} WHERE t.id = :id;

-- ---- clauses and choices ----

-- name: search_orders :many
-- Orders by whatever is asked for.
-- param customer_id: orders.customer_id
-- param status: orders.status
-- param since, until: orders.created_at
-- param note: orders.note?
-- param limit: int8
-- return o: orders.*
SELECT {o.*} FROM {orders o}
WHERE true
  /*?if customer_id*/ AND o.customer_id = :customer_id /*?end*/
  /*?if status*/ AND o.status = :status /*?end*/
  /*?if since, until*/ AND o.created_at >= :since AND o.created_at < :until /*?end*/
  /*?if note*/ AND o.note IS NOT DISTINCT FROM :note /*?end*/
  /*?if only_placed*/ AND o.placed_at IS NOT NULL /*?end*/
ORDER BY /*?by sort newest*/ o.created_at DESC, o.id DESC
         /*?or oldest: o.created_at, o.id*/
         /*?or dearest: o.total DESC, o.id*/ /*?end*/
LIMIT :limit;

-- name: rank_products :many
-- A choice that stands in two places, one with a parameter of its own.
-- param near: products.price
-- return name, score: products.name, numeric
SELECT p.name, /*?by sort price*/ p.price /*?or nearness: abs(p.price - :near)*/ /*?end*/
FROM {products p} WHERE {live p}
ORDER BY /*?by sort price*/ p.price /*?or nearness: abs(p.price - :near)*/ /*?end*/, p.name;

-- name: change_order :execrows
-- param id: orders.id
-- param note: orders.note?
-- param placed_at: orders.placed_at?
UPDATE {orders o} SET updated_at = {now}
    /*?if note*/, note = :note/*?end*/
    /*?if placed_at*/, placed_at = :placed_at/*?end*/
WHERE o.id = :id;

-- name: orders_of_status :many
-- One status may hold nearly all rows, another nearly none.
-- param status: orders.status
-- return id: orders.id
-- plan: custom
SELECT o.id FROM {orders o} WHERE o.status = :status ORDER BY o.id;

-- name: orders_of_status_as_ever :many
-- param status: orders.status
-- return id: orders.id
SELECT o.id FROM {orders o} WHERE o.status = :status ORDER BY o.id;

-- name: typed_enums :many
-- param currencies: currency[]
-- return currency: currency
SELECT u FROM unnest(:currencies::{=currency}[]) AS u ORDER BY u;
