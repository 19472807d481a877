-- What bench-sessions reads and appends to: 2,000 sessions with 20 events, 4,000 without any, one with
-- 1,000 and one with 100,000, of 1.1 KB each. Every third is a message of the user.
CREATE FUNCTION pg_temp.start() RETURNS timestamp LANGUAGE sql IMMUTABLE AS
    $$ SELECT timestamp '2026-01-01 12:00' $$;

CREATE FUNCTION pg_temp.put_sessions(kind text, count int) RETURNS void LANGUAGE sql AS $$
    INSERT INTO session_states (app_name, user_id, session_id, state, created_at, updated_at)
    SELECT 'desk', format('user-%s', lpad((n % 50)::text, 3, '0')),
           format('%s-%s', kind, lpad(n::text, 5, '0')),
           jsonb_build_object(
               'id', format('%s-%s', kind, lpad(n::text, 5, '0')),
               'state', jsonb_build_object('language', 'ZW4=', 'step', 'Mw==',
                                           'booking', encode(md5(n::text)::bytea, 'base64'),
                                           'notes', replace(encode(repeat('note ', 30)::bytea,
                                                                   'base64'), E'\n', '')),
               'createdAt', '2026-01-01T12:00:00Z', 'updatedAt', '2026-01-01T12:00:00Z'),
           pg_temp.start(), pg_temp.start()
    FROM generate_series(0, count - 1) AS n $$;

CREATE FUNCTION pg_temp.put_events(kind text, sessions int, events int) RETURNS void LANGUAGE sql AS $$
    INSERT INTO session_events (app_name, user_id, session_id, event, created_at, updated_at)
    SELECT 'desk', format('user-%s', lpad((s % 50)::text, 3, '0')),
           format('%s-%s', kind, lpad(s::text, 5, '0')),
           jsonb_build_object(
               'id', md5(format('%s %s %s', kind, s, n)), 'timestamp',
               to_char(pg_temp.start() + n * interval '1 ms', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
               'author', role, 'invocationId', format('inv-%s', n / 3), 'object', 'chat.completion',
               'created', 1767268800 + n / 1000, 'model', 'large-2', 'choices', jsonb_build_array(
                   jsonb_build_object('index', 0, 'finish_reason', 'stop', 'message',
                       jsonb_build_object('role', role, 'content',
                           repeat('The fare rules allow one change without a fee. ', 14)))),
               'usage', jsonb_build_object('prompt_tokens', 1873, 'completion_tokens', 211),
               'done', true, 'is_partial', false, 'response', jsonb_build_object('id', md5(n::text),
               'timestamp', '2026-01-01T12:00:00Z'), 'version', 1),
           pg_temp.start() + n * interval '1 ms', pg_temp.start() + n * interval '1 ms'
    FROM generate_series(1, events) AS n, generate_series(0, sessions - 1) AS s,
         LATERAL (SELECT CASE n % 3 WHEN 1 THEN 'user' ELSE 'assistant' END) AS r (role) $$;

SELECT pg_temp.put_sessions('read', 2000), pg_temp.put_sessions('write', 4000),
       pg_temp.put_sessions('long', 1), pg_temp.put_sessions('big', 1);
SELECT pg_temp.put_events('read', 2000, 20);
SELECT pg_temp.put_events('long', 1, 1000);
SELECT pg_temp.put_events('big', 1, 100000);

INSERT INTO app_states (app_name, key, value)
SELECT 'desk', format('setting-%s', n), repeat('on ', 10) FROM generate_series(1, 3) AS n;
INSERT INTO user_states (app_name, user_id, key, value)
SELECT 'desk', format('user-%s', lpad(u::text, 3, '0')), format('taste-%s', n), repeat('aisle ', 5)
FROM generate_series(0, 49) AS u, generate_series(1, 2) AS n;
INSERT INTO session_summaries (app_name, user_id, session_id, summary, updated_at)
SELECT s.app_name, s.user_id, s.session_id,
       jsonb_build_object('summary', repeat('The traveller moved a flight. ', 12),
                          'updated_at', '2026-01-01T12:00:00Z'),
       pg_temp.start() + interval '1 s'
FROM session_states AS s WHERE s.session_id ~ '^(read|long|big)';

VACUUM ANALYZE;
CHECKPOINT;
