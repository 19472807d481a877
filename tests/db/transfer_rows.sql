-- Rows of every table of the shop, with values that files find hard.
INSERT INTO customers (id, email, name, phone, birthday, last_address, notes, deleted_at) VALUES
    (1, 'ann@x', 'Ann "the\first"', NULL, '2000-02-29', '10.0.0.1', E'{ "a" :  1,\n"a": 2}', NULL),
    (2, 'bob@x', '', '', NULL, '::1/64', 'null', now()),
    (3, 'eve@x', E'tab\there,\nnew "line"\r\\N', '\N', 'infinity', '192.168.0.0/16', '"text"', NULL);
INSERT INTO categories (id, parent_id, name) OVERRIDING SYSTEM VALUE VALUES
    (1, NULL, 'root'), (2, 1, 'leaf'), (7, 2, 'ä€😀');
INSERT INTO products (id, sku, name, price, currency, weight, rating, tags, attributes, picture) VALUES
    ('00000000-0000-4000-8000-000000000001', 'PEN', 'Pen', 1.50, 'JPY', 0.1, 'NaN', '{a,"b \"c\\",NULL,""}', '{"x": 1.10, "y": [null, 1e20]}', '\x00ff'),
    ('00000000-0000-4000-8000-000000000002', 'INK', 'Ink', 0, 'EUR', '-Infinity', 3.4e38, '{}', 'null', ''),
    ('00000000-0000-4000-8000-000000000003', 'MAP', 'Map', 9999999999.99, 'USD', NULL, NULL, '{"{}"}', '"a \"string\""', NULL);
INSERT INTO product_categories VALUES ('00000000-0000-4000-8000-000000000001', 2);
INSERT INTO warehouses (id, name, gateway, opens, closes, handling) VALUES
    (1, 'North', '08:00:2b:01:02:03', '00:00', '24:00', '1 year 2 mons -3 days 04:05:06.7');
INSERT INTO stock (product_id, warehouse_id, on_hand, reserved) VALUES
    ('00000000-0000-4000-8000-000000000001', 1, 10, 3);
INSERT INTO carts (id, customer_id, expires_at) VALUES
    ('00000000-0000-4000-8000-0000000000c1', 1, '2001-01-01'), ('00000000-0000-4000-8000-0000000000c2', NULL, 'infinity');
INSERT INTO cart_items VALUES ('00000000-0000-4000-8000-0000000000c1', '00000000-0000-4000-8000-000000000001', 2);
INSERT INTO orders (id, customer_id, status, currency, total, history, placed_at) VALUES
    (1, 1, 'in transit', 'EUR', 12.30, '{open,"in transit"}', '2026-01-01 00:00:00.000001+00');
INSERT INTO order_lines (order_id, line, product_id, warehouse_id, quantity, price) VALUES
    (1, 1, '00000000-0000-4000-8000-000000000001', 1, 2, 1.5);
INSERT INTO invoices (id, order_id, number, paid_at) VALUES (5, 1, 'R-5', '0044-03-15 00:00 BC');
INSERT INTO payments (invoice_id, amount, reference) VALUES (5, -0.10, 'x');
INSERT INTO settings (key, value) VALUES ('a', '{}'), ('b', NULL), ('c', '"null"'), ('d', 'true'), ('', '-1.50');
INSERT INTO wishlists (customer_id, title, products) VALUES (1, 't', '{00000000-0000-4000-8000-000000000001,NULL}');
INSERT INTO audit_log (id, at, actor, change) VALUES (1, '2026-01-01Z', 'ann', '[]'), (1, '2027-01-01Z', 'bob', '{"a": "\\u00e9"}');
INSERT INTO page_views (path, visitor) VALUES ('/', NULL), ('/a,b', '00000000-0000-4000-8000-000000000001');
INSERT INTO shelf_labels (conn, class, "default", "order", "user", unix) VALUES (1, 'c', 'd', 2, 'u', true);
INSERT INTO type_samples VALUES (1, true, -32768, 2147483647, -9223372036854775808, 1.5,
    2.25, 12345678901234567890.000000000123, E'caf\u00e9 \n\t', 'varchar', 'ab', '\x00ff10',
    '00000000-0000-4000-8000-000000000001', '2026-02-28', '23:59:59.999999', '2026-01-31 09:05:00.25',
    '2026-01-31 09:05:00.25+02', '1 year 2 mons -3 days 04:05:06.7', '{ "a" : [1, 2] }',
    '{ "b" : 1, "a" : 2 }', '192.168.7.1/24', 'USD', '08:00:2b:01:02:03',
    false, 1, 2, 3, 'NaN', '-Infinity', -0.5, '', 'v', 'c', '', '00000000-0000-4000-8000-000000000002', '1999-12-31',
    '24:00', '1969-12-31 23:59:59.999999', '1969-12-31 23:59:59Z', '-1 us', '1', 'null',
    '2001:db8::1', 'JPY', 'ff:ff:ff:ff:ff:ff',
    '{t,f}', '{1,-1}', '{2}', '{3,4,5}', '{0.5,-Infinity}', '{1e300,1e-300}',
    '{1.10,-0.00,NaN,1e20}', '{"a b","c\"d","","null","\\"}', '{x,y}', '{ab,cdef}',
    '{"\\x00","\\x"}', '{00000000-0000-4000-8000-000000000001}', '{2000-01-01,1970-01-01}', '{00:00,24:00}',
    '{2000-01-01 00:00,infinity}', '{-infinity,2000-01-01 00:00Z}', '{1 mon,-1 day,3 us}',
    '{"{\"a\": 1}",2}', '{"[1,  2]","\"s\""}', '{10.0.0.1,::1,10.0.0.0/8}',
    '{EUR,JPY}', '{one}');
INSERT INTO type_samples VALUES (2, false, 0, 0, 0, 0, -0.0, 'NaN', '', '', '', '',
    '00000000-0000-4000-8000-000000000001', 'infinity', '00:00', '-infinity', 'infinity', '0', '0', '0',
    '::ffff:1.2.3.4/96', 'EUR', '00:00:00:00:00:00',
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    '{}', '{NULL}', '{NULL,1}', '{}', '{NULL}', '{}', '{NULL,1.50}', '{NULL,""}', '{}',
    '{NULL}', '{NULL}', '{NULL}', '{-infinity,0044-03-15 BC}', '{NULL}', '{NULL}', '{}',
    '{NULL}', '{NULL}', '{NULL}', '{NULL}', NULL, '{NULL,a}');
