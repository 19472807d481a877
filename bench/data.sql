-- What the benchmarks read: 1,000 sessions of 50 users, and one session with 100 events of 1.1 KB.
INSERT INTO session_states (app_name, user_id, session_id, state)
SELECT 'assistant', format('user-%s', lpad((n % 50)::text, 3, '0')),
       format('session-%s', lpad(n::text, 5, '0')),
       jsonb_build_object('id', format('session-%s', n), 'state', jsonb_build_object(
           'language', 'en', 'step', n % 9, 'booking', md5(n::text), 'notes', repeat('note ', 40)))
FROM generate_series(0, 999) AS n;

INSERT INTO session_events (app_name, user_id, session_id, event)
SELECT 'assistant', 'reader', 'listed', jsonb_build_object('id', md5(n::text), 'author', 'assistant',
           'content', repeat('The fare rules allow one change without a fee. ', 22))
FROM generate_series(1, 100) AS n;

VACUUM ANALYZE;
