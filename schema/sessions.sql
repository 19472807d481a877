-- Statements of the sessions store. What they keep true beside peers of the same tables:
--
-- * Reads say deleted_at IS NULL themselves, whether deletes are soft or hard here.
-- * A session's row is locked before anything of it changes. What touches its events, tracks and
--   summaries comes in later statements of the same pipeline: their snapshots are younger than the
--   lock, so that nothing written beside them is missed.
-- * Times that order rows are the server's clock, read under that lock, and always later than the
--   session's last; deletions of one transaction share one time, by which restore() knows them.
-- * The last rows of a session are read by created_at WITH TIES, then by (created_at, id): so an
--   index that ends with created_at serves, also in a generic plan.
-- * A materialized WITH query is read in the order in which it was made: windows are sorted once.
-- * jsonb becomes text outside LIMIT, and base64 is never decoded by reads: what one row holds
--   cannot break the others.

-- ---- creating ----

-- name: create :maybe
-- Creates a session, or takes over the row of one that has expired: then its former events, tracks
-- and summaries are cleared by clear_former_…() in the same pipeline. No row: it exists and lives.
-- param app_name, user_id: session_states.app_name, session_states.user_id
-- param session_id: session_states.session_id
-- param state: jsonb
-- param ttl: interval?
-- return id, created_at: session_states.id, session_states.created_at
INSERT INTO {session_states s}
    (app_name, user_id, session_id, state, created_at, updated_at, expires_at)
SELECT :app_name, :user_id, :session_id,
       jsonb_build_object('id', :session_id::text, 'state', :state,
                          'createdAt', c.at AT TIME ZONE 'UTC',
                          'updatedAt', c.at AT TIME ZONE 'UTC'),
       c.at, c.at, c.at + :ttl
FROM (SELECT clock_timestamp() AT TIME ZONE 'UTC' AS at OFFSET 0) AS c
ON CONFLICT (app_name, user_id, session_id) WHERE deleted_at IS NULL
DO UPDATE SET state = EXCLUDED.state, created_at = EXCLUDED.created_at,
              updated_at = EXCLUDED.updated_at, expires_at = EXCLUDED.expires_at
WHERE s.expires_at <= (clock_timestamp() AT TIME ZONE 'UTC')
RETURNING s.id, s.created_at;

-- name: clear_former_events :execrows
-- After create(), in its transaction: former events of the session. Nothing if it did not create.
-- param app_name, user_id: session_events.app_name, session_events.user_id
-- param session_id: session_events.session_id
UPDATE {session_events e} SET deleted_at = now() AT TIME ZONE 'UTC'
WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
  AND {not_deleted e}
  AND EXISTS (
      SELECT FROM {session_states s}
      WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
        AND {not_deleted s} AND s.xmin = (txid_current() & 4294967295)::text::xid);

-- name: clear_former_tracks :execrows
-- The same for events of its tracks.
-- param app_name, user_id: session_track_events.app_name, session_track_events.user_id
-- param session_id: session_track_events.session_id
UPDATE {session_track_events e} SET deleted_at = now() AT TIME ZONE 'UTC'
WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
  AND {not_deleted e}
  AND EXISTS (
      SELECT FROM {session_states s}
      WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
        AND {not_deleted s} AND s.xmin = (txid_current() & 4294967295)::text::xid);

-- name: clear_former_summaries :execrows
-- The same for its summaries.
-- param app_name, user_id: session_summaries.app_name, session_summaries.user_id
-- param session_id: session_summaries.session_id
UPDATE {session_summaries e} SET deleted_at = now() AT TIME ZONE 'UTC'
WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
  AND {not_deleted e}
  AND EXISTS (
      SELECT FROM {session_states s}
      WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
        AND {not_deleted s} AND s.xmin = (txid_current() & 4294967295)::text::xid);

-- name: hard_clear_former_events :execrows
-- clear_former_events() for good.
-- param app_name, user_id: session_events.app_name, session_events.user_id
-- param session_id: session_events.session_id
DELETE FROM {session_events e}
WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
  AND {not_deleted e}
  AND EXISTS (
      SELECT FROM {session_states s}
      WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
        AND {not_deleted s} AND s.xmin = (txid_current() & 4294967295)::text::xid);

-- name: hard_clear_former_tracks :execrows
-- clear_former_tracks() for good.
-- param app_name, user_id: session_track_events.app_name, session_track_events.user_id
-- param session_id: session_track_events.session_id
DELETE FROM {session_track_events e}
WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
  AND {not_deleted e}
  AND EXISTS (
      SELECT FROM {session_states s}
      WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
        AND {not_deleted s} AND s.xmin = (txid_current() & 4294967295)::text::xid);

-- name: hard_clear_former_summaries :execrows
-- clear_former_summaries() for good.
-- param app_name, user_id: session_summaries.app_name, session_summaries.user_id
-- param session_id: session_summaries.session_id
DELETE FROM {session_summaries e}
WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
  AND {not_deleted e}
  AND EXISTS (
      SELECT FROM {session_states s}
      WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
        AND {not_deleted s} AND s.xmin = (txid_current() & 4294967295)::text::xid);

-- ---- reading ----

-- name: get :many
-- A session with all that belongs to it, from one snapshot. Kinds: 0 the session (body: its
-- envelope; no such row: there is none), 1 state of the application and 2 of the user (name: key),
-- 3 the last message of the user where it stands before the window, 4 events of the window, oldest
-- first, 5 summaries (name: filter key), 6 events of tracks (name: track), each track's oldest first.
-- `event_num` NULL: no limit. With `event_time` the window begins at the first event whose own time
-- is not before it; own times may differ from created_at by up to five minutes, and are not looked
-- at in events that came five minutes later. `tracks` LAST gives the newest `track_num` of each
-- track, NAMED those of `track_names` only; NULL: no limit. `track_time` is exclusive, and may be
-- -infinity.
-- param app_name, user_id: session_states.app_name, session_states.user_id
-- param session_id: session_states.session_id
-- param event_num: int8?
-- param event_time: session_events.created_at
-- param track_time: session_track_events.created_at
-- param track_num: int8?
-- param track_names: text[]
-- return kind, name, id: int4, text?, int8?
-- return created_at, updated_at, body: timestamp?, timestamp?, text?
WITH /*?if event_time*/ z AS MATERIALIZED (
    -- Times that the server can read: one that it cannot would fail the whole statement.
    SELECT '^(?!0000)([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])'
           '|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))'
           '|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)'
           'T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?'
           '(Z|[+-](0[0-9]|1[0-5]):[0-5][0-9])$' AS time
), /*?end*/ s AS MATERIALIZED (
    SELECT s.state, s.created_at, s.updated_at FROM {session_states s}
    WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
      AND {live s}
), w AS MATERIALIZED (
    SELECT x.id, x.created_at, x.event FROM (
        SELECT y.id, y.created_at, y.event FROM (
            SELECT e.id, e.created_at, e.event FROM {session_events e}
            WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
              AND {not_deleted e} AND EXISTS (SELECT FROM s)
              /*?if event_time*/ AND e.created_at >= :event_time - interval '5 minutes' /*?end*/
            ORDER BY e.created_at DESC FETCH FIRST (:event_num) ROWS WITH TIES
        ) AS y ORDER BY y.created_at DESC, y.id DESC LIMIT :event_num
    ) AS x ORDER BY x.created_at, x.id
)/*?if event_time*/, m AS MATERIALIZED (
    -- Where the window begins: its oldest row, if what is left out holds a first one already.
    (SELECT o.created_at, o.id
     FROM (SELECT w.created_at, w.id FROM w LIMIT 1) AS o
     WHERE o.created_at >= :event_time + interval '5 minutes' OR EXISTS (
        SELECT FROM {session_events e}
        WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
          AND {not_deleted e}
          AND e.created_at BETWEEN :event_time - interval '5 minutes' AND o.created_at
          AND (e.created_at, e.id) < (o.created_at, o.id)
          AND CASE WHEN e.event ->> 'timestamp' ~ (SELECT z.time FROM z)
                   THEN (e.event ->> 'timestamp')::timestamptz >= :event_time AT TIME ZONE 'UTC'
               END))
    UNION ALL
    (SELECT w.created_at, w.id FROM w
     WHERE w.created_at >= :event_time + interval '5 minutes'
        OR CASE WHEN w.event ->> 'timestamp' ~ (SELECT z.time FROM z)
                THEN (w.event ->> 'timestamp')::timestamptz >= :event_time AT TIME ZONE 'UTC'
            END
     LIMIT 1)
    LIMIT 1
)/*?end*/, f AS MATERIALIZED (
    -- The first message of the user in the window, or else the last one before it.
    (SELECT w.created_at AS start_at, w.id AS start_id, w.created_at, w.id,
            NULL::jsonb AS event, false AS before
     FROM w
     WHERE w.event @? '$.choices[*] ? (@.message.role == "user" || @.delta.role == "user")'
       /*?if event_time*/
       AND (w.created_at, w.id) >= (SELECT m.created_at, m.id FROM m) /*?end*/
     LIMIT 1)
    UNION ALL
    (SELECT timestamp '-infinity', 0::int8, e.created_at, e.id, e.event, true FROM {session_events e}
     WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
       AND e.deleted_at IS NULL
       AND e.event @? '$.choices[*] ? (@.message.role == "user" || @.delta.role == "user")'
       AND e.created_at = (
        SELECT e.created_at FROM {session_events e}
        WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
          AND e.deleted_at IS NULL AND EXISTS (SELECT FROM s)
          AND e.event @? '$.choices[*] ? (@.message.role == "user" || @.delta.role == "user")'
        ORDER BY e.created_at DESC LIMIT 1)
     ORDER BY e.id DESC LIMIT 1)
    LIMIT 1
)
SELECT 0, NULL::text, NULL::int8, s.created_at, s.updated_at, s.state::text FROM s
UNION ALL
SELECT 1, a.key::text, a.id, a.created_at, a.updated_at, a.value FROM {app_states a}
WHERE a.app_name = :app_name AND {live a}
UNION ALL
SELECT 2, u.key::text, u.id, u.created_at, u.updated_at, u.value FROM {user_states u}
WHERE u.app_name = :app_name AND u.user_id = :user_id AND {live u}
UNION ALL
SELECT 3, NULL, f.id, f.created_at, NULL, f.event::text FROM f WHERE f.before
UNION ALL
SELECT 4, NULL, x.id, x.created_at, NULL, x.event::text FROM (
    SELECT w.id, w.created_at, w.event FROM w
    WHERE (w.created_at, w.id) >= (SELECT f.start_at, f.start_id FROM f)
      /*?if event_time*/ AND (w.created_at, w.id) >= (SELECT m.created_at, m.id FROM m) /*?end*/
) AS x
UNION ALL
SELECT 5, y.filter_key::text, y.id, NULL, y.updated_at, y.summary::text FROM {session_summaries y}
WHERE y.app_name = :app_name AND y.user_id = :user_id AND y.session_id = :session_id
  AND {live y} AND y.updated_at >= (SELECT s.created_at FROM s)
/*?by tracks all*/ UNION ALL
SELECT 6, x.track::text, x.id, x.created_at, NULL, x.event::text FROM (
    SELECT t.track, t.id, t.created_at, t.event FROM {session_track_events t}
    WHERE t.app_name = :app_name AND t.user_id = :user_id AND t.session_id = :session_id
      AND {live t} AND t.created_at > :track_time AND EXISTS (SELECT FROM s)
    ORDER BY t.track, t.created_at, t.id
) AS x
/*?or last: UNION ALL
SELECT 6, x.track::text, x.id, x.created_at, NULL, x.event::text FROM (
    WITH RECURSIVE n (track) AS (
        (SELECT t.track FROM {session_track_events t}
         WHERE t.app_name = :app_name AND t.user_id = :user_id AND t.session_id = :session_id
           AND {not_deleted t} AND EXISTS (SELECT FROM s) ORDER BY t.track LIMIT 1)
        UNION ALL
        SELECT (SELECT t.track FROM {session_track_events t}
                WHERE t.app_name = :app_name AND t.user_id = :user_id AND t.session_id = :session_id
                  AND {not_deleted t} AND t.track > n.track ORDER BY t.track LIMIT 1)
        FROM n WHERE n.track IS NOT NULL
    )
    SELECT l.track, l.id, l.created_at, l.event FROM n CROSS JOIN LATERAL (
        SELECT y.track, y.id, y.created_at, y.event FROM (
            SELECT t.track, t.id, t.created_at, t.event FROM {session_track_events t}
            WHERE t.app_name = :app_name AND t.user_id = :user_id AND t.session_id = :session_id
              AND t.track = n.track AND {live t} AND t.created_at > :track_time
            ORDER BY t.created_at DESC FETCH FIRST (:track_num) ROWS WITH TIES
        ) AS y ORDER BY y.created_at DESC, y.id DESC LIMIT :track_num
    ) AS l ORDER BY l.track, l.created_at, l.id
) AS x */
/*?or named: UNION ALL
SELECT 6, x.track::text, x.id, x.created_at, NULL, x.event::text FROM (
    SELECT l.track, l.id, l.created_at, l.event
    FROM (SELECT DISTINCT n.track FROM unnest(:track_names::text[]) AS n (track)
          WHERE EXISTS (SELECT FROM s)) AS n
    CROSS JOIN LATERAL (
        SELECT y.track, y.id, y.created_at, y.event FROM (
            SELECT t.track, t.id, t.created_at, t.event FROM {session_track_events t}
            WHERE t.app_name = :app_name AND t.user_id = :user_id AND t.session_id = :session_id
              AND t.track = n.track AND {live t} AND t.created_at > :track_time
            ORDER BY t.created_at DESC FETCH FIRST (:track_num) ROWS WITH TIES
        ) AS y ORDER BY y.created_at DESC, y.id DESC LIMIT :track_num
    ) AS l ORDER BY l.track, l.created_at, l.id
) AS x */
/*?or none: */ /*?end*/;

-- name: get_page :many
-- A session as get() gives it, with one page of its events instead of a window: those of `since`
-- (or -infinity) or later, newest first from `before` (created_at and id of the oldest one seen) or
-- from the newest, after `offset` more. The page is given oldest first, and keeps what the user did
-- not begin.
-- param app_name, user_id: session_states.app_name, session_states.user_id
-- param session_id: session_states.session_id
-- param since: session_events.created_at
-- param before, before_id: session_events.created_at, session_events.id
-- param offset, limit: int8, int8
-- param track_time: session_track_events.created_at
-- return kind, name, id: int4, text?, int8?
-- return created_at, updated_at, body: timestamp?, timestamp?, text?
WITH s AS MATERIALIZED (
    SELECT s.state, s.created_at, s.updated_at FROM {session_states s}
    WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
      AND {live s}
)
SELECT 0, NULL::text, NULL::int8, s.created_at, s.updated_at, s.state::text FROM s
UNION ALL
SELECT 1, a.key::text, a.id, a.created_at, a.updated_at, a.value FROM {app_states a}
WHERE a.app_name = :app_name AND {live a}
UNION ALL
SELECT 2, u.key::text, u.id, u.created_at, u.updated_at, u.value FROM {user_states u}
WHERE u.app_name = :app_name AND u.user_id = :user_id AND {live u}
UNION ALL
SELECT 4, NULL, z.id, z.created_at, NULL, z.event::text FROM (
    SELECT y.id, y.created_at, y.event FROM (
        SELECT x.id, x.created_at, x.event FROM (
            SELECT e.id, e.created_at, e.event FROM {session_events e}
            WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
              AND {not_deleted e} AND EXISTS (SELECT FROM s) AND e.created_at >= :since
              /*?if before, before_id*/ AND e.created_at <= :before
              AND (e.created_at, e.id) < (:before, :before_id) /*?end*/
            ORDER BY e.created_at DESC FETCH FIRST (:limit + :offset) ROWS WITH TIES
        ) AS x ORDER BY x.created_at DESC, x.id DESC LIMIT :limit OFFSET :offset
    ) AS y ORDER BY y.created_at, y.id
) AS z
UNION ALL
SELECT 5, y.filter_key::text, y.id, NULL, y.updated_at, y.summary::text FROM {session_summaries y}
WHERE y.app_name = :app_name AND y.user_id = :user_id AND y.session_id = :session_id
  AND {live y} AND y.updated_at >= (SELECT s.created_at FROM s)
/*?by tracks all*/ UNION ALL
SELECT 6, x.track::text, x.id, x.created_at, NULL, x.event::text FROM (
    SELECT t.track, t.id, t.created_at, t.event FROM {session_track_events t}
    WHERE t.app_name = :app_name AND t.user_id = :user_id AND t.session_id = :session_id
      AND {live t} AND t.created_at > :track_time AND EXISTS (SELECT FROM s)
    ORDER BY t.track, t.created_at, t.id
) AS x
/*?or none: */ /*?end*/;

-- name: list_meta :many
-- Sessions of a user, last changed first, without their events. Kinds as of get(): 0, 1 and 2.
-- `limit` NULL: all. `before` and `before_id`: updated_at and session_id of the last one seen.
-- param app_name, user_id: session_states.app_name, session_states.user_id
-- param before, before_id: session_states.updated_at, session_states.session_id
-- param limit, offset: int8?, int8
-- return kind, session_id, name, id: int4, text?, text?, int8?
-- return created_at, updated_at, body: timestamp?, timestamp?, text?
SELECT 0, p.session_id, NULL::text, p.id, p.created_at, p.updated_at, p.state::text FROM (
    SELECT s.id, s.session_id, s.state, s.created_at, s.updated_at FROM {session_states s}
    WHERE s.app_name = :app_name AND s.user_id = :user_id AND {live s}
      /*?if before, before_id*/ AND (s.updated_at, s.session_id) < (:before, :before_id) /*?end*/
    ORDER BY s.updated_at DESC, s.session_id DESC LIMIT :limit OFFSET :offset
) AS p
UNION ALL
SELECT 1, NULL, a.key, a.id, a.created_at, a.updated_at, a.value FROM {app_states a}
WHERE a.app_name = :app_name AND {live a}
UNION ALL
SELECT 2, NULL, u.key, u.id, u.created_at, u.updated_at, u.value FROM {user_states u}
WHERE u.app_name = :app_name AND u.user_id = :user_id AND {live u};

-- name: list :many
-- Sessions of a user, last changed first, each with what get() gives of it: the same kinds, limits
-- and windows, and session_id in each row that belongs to one session.
-- param app_name, user_id: session_states.app_name, session_states.user_id
-- param before, before_id: session_states.updated_at, session_states.session_id
-- param limit, offset: int8?, int8
-- param event_num: int8?
-- param event_time: session_events.created_at
-- param track_time: session_track_events.created_at
-- param track_num: int8?
-- return kind, session_id, name, id: int4, text?, text?, int8?
-- return created_at, updated_at, body: timestamp?, timestamp?, text?
WITH /*?if event_time*/ z AS MATERIALIZED (
    -- Times that the server can read: one that it cannot would fail the whole statement.
    SELECT '^(?!0000)([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])'
           '|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))'
           '|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)'
           'T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?'
           '(Z|[+-](0[0-9]|1[0-5]):[0-5][0-9])$' AS time
), /*?end*/ p AS MATERIALIZED (
    SELECT s.id, s.session_id, s.state, s.created_at, s.updated_at FROM {session_states s}
    WHERE s.app_name = :app_name AND s.user_id = :user_id AND {live s}
      /*?if before, before_id*/ AND (s.updated_at, s.session_id) < (:before, :before_id) /*?end*/
    ORDER BY s.updated_at DESC, s.session_id DESC LIMIT :limit OFFSET :offset
)
SELECT 0, p.session_id, NULL::text, p.id, p.created_at, p.updated_at, p.state::text FROM p
UNION ALL
SELECT 1, NULL, a.key, a.id, a.created_at, a.updated_at, a.value FROM {app_states a}
WHERE a.app_name = :app_name AND {live a}
UNION ALL
SELECT 2, NULL, u.key, u.id, u.created_at, u.updated_at, u.value FROM {user_states u}
WHERE u.app_name = :app_name AND u.user_id = :user_id AND {live u}
UNION ALL
SELECT v.kind, p.session_id, NULL, v.id, v.created_at, NULL, v.event::text
FROM p CROSS JOIN LATERAL (
    WITH w AS MATERIALIZED (
        SELECT x.id, x.created_at, x.event FROM (
            SELECT y.id, y.created_at, y.event FROM (
                SELECT e.id, e.created_at, e.event FROM {session_events e}
                WHERE e.app_name = :app_name AND e.user_id = :user_id
                  AND e.session_id = p.session_id AND {not_deleted e}
                  /*?if event_time*/ AND e.created_at >= :event_time - interval '5 minutes' /*?end*/
                ORDER BY e.created_at DESC FETCH FIRST (:event_num) ROWS WITH TIES
            ) AS y ORDER BY y.created_at DESC, y.id DESC LIMIT :event_num
        ) AS x ORDER BY x.created_at, x.id
    )/*?if event_time*/, m AS MATERIALIZED (
        (SELECT o.created_at, o.id
         FROM (SELECT w.created_at, w.id FROM w LIMIT 1) AS o
         WHERE o.created_at >= :event_time + interval '5 minutes' OR EXISTS (
            SELECT FROM {session_events e}
            WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = p.session_id
              AND {not_deleted e}
              AND e.created_at BETWEEN :event_time - interval '5 minutes' AND o.created_at
              AND (e.created_at, e.id) < (o.created_at, o.id)
              AND CASE WHEN e.event ->> 'timestamp' ~ (SELECT z.time FROM z)
                       THEN (e.event ->> 'timestamp')::timestamptz >= :event_time AT TIME ZONE 'UTC'
                   END))
        UNION ALL
        (SELECT w.created_at, w.id FROM w
         WHERE w.created_at >= :event_time + interval '5 minutes'
            OR CASE WHEN w.event ->> 'timestamp' ~ (SELECT z.time FROM z)
                    THEN (w.event ->> 'timestamp')::timestamptz >= :event_time AT TIME ZONE 'UTC'
                END
         LIMIT 1)
        LIMIT 1
    )/*?end*/, f AS MATERIALIZED (
        (SELECT w.created_at AS start_at, w.id AS start_id, w.created_at, w.id,
                NULL::jsonb AS event, false AS before
         FROM w
         WHERE w.event @? '$.choices[*] ? (@.message.role == "user" || @.delta.role == "user")'
           /*?if event_time*/
           AND (w.created_at, w.id) >= (SELECT m.created_at, m.id FROM m) /*?end*/
         LIMIT 1)
        UNION ALL
        (SELECT '-infinity', 0, e.created_at, e.id, e.event, true FROM {session_events e}
         WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = p.session_id
           AND e.deleted_at IS NULL
           AND e.event @? '$.choices[*] ? (@.message.role == "user" || @.delta.role == "user")'
           AND e.created_at = (
            SELECT e.created_at FROM {session_events e}
            WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = p.session_id
              AND e.deleted_at IS NULL
              AND e.event @? '$.choices[*] ? (@.message.role == "user" || @.delta.role == "user")'
            ORDER BY e.created_at DESC LIMIT 1)
         ORDER BY e.id DESC LIMIT 1)
        LIMIT 1
    )
    (SELECT 3 AS kind, f.id, f.created_at, f.event FROM f WHERE f.before)
    UNION ALL
    (SELECT 4, w.id, w.created_at, w.event FROM w
     WHERE (w.created_at, w.id) >= (SELECT f.start_at, f.start_id FROM f)
       /*?if event_time*/ AND (w.created_at, w.id) >= (SELECT m.created_at, m.id FROM m) /*?end*/)
) AS v
UNION ALL
SELECT 5, p.session_id, y.filter_key, y.id, NULL, y.updated_at, y.summary::text
FROM p JOIN {session_summaries y}
  ON y.app_name = :app_name AND y.user_id = :user_id AND y.session_id = p.session_id
WHERE {live y} AND y.updated_at >= p.created_at
/*?by tracks all*/ UNION ALL
SELECT 6, x.session_id, x.track, x.id, x.created_at, NULL, x.event::text FROM (
    SELECT p.session_id, t.track, t.id, t.created_at, t.event
    FROM p JOIN {session_track_events t}
      ON t.app_name = :app_name AND t.user_id = :user_id AND t.session_id = p.session_id
    WHERE {live t} AND t.created_at > :track_time
    ORDER BY p.session_id, t.track, t.created_at, t.id
) AS x
/*?or last: UNION ALL
SELECT 6, x.session_id, x.track, x.id, x.created_at, NULL, x.event::text FROM (
    SELECT p.session_id, l.track, l.id, l.created_at, l.event
    FROM p CROSS JOIN LATERAL (
        WITH RECURSIVE n (track) AS (
            (SELECT t.track FROM {session_track_events t}
             WHERE t.app_name = :app_name AND t.user_id = :user_id AND t.session_id = p.session_id
               AND {not_deleted t} ORDER BY t.track LIMIT 1)
            UNION ALL
            SELECT (SELECT t.track FROM {session_track_events t}
                    WHERE t.app_name = :app_name AND t.user_id = :user_id
                      AND t.session_id = p.session_id
                      AND {not_deleted t} AND t.track > n.track ORDER BY t.track LIMIT 1)
            FROM n WHERE n.track IS NOT NULL
        )
        SELECT n.track FROM n WHERE n.track IS NOT NULL
    ) AS n CROSS JOIN LATERAL (
        SELECT y.track, y.id, y.created_at, y.event FROM (
            SELECT t.track, t.id, t.created_at, t.event FROM {session_track_events t}
            WHERE t.app_name = :app_name AND t.user_id = :user_id AND t.session_id = p.session_id
              AND t.track = n.track AND {live t} AND t.created_at > :track_time
            ORDER BY t.created_at DESC FETCH FIRST (:track_num) ROWS WITH TIES
        ) AS y ORDER BY y.created_at DESC, y.id DESC LIMIT :track_num
    ) AS l ORDER BY p.session_id, l.track, l.created_at, l.id
) AS x */
/*?or none: */ /*?end*/;

-- name: get_track_events :many
-- Events of one track, oldest first: the newest `limit` (NULL: all) of those later than `since`.
-- The session need not exist.
-- param app_name, user_id: session_track_events.app_name, session_track_events.user_id
-- param session_id, track: session_track_events.session_id, session_track_events.track
-- param since: session_track_events.created_at
-- param limit: int8?
-- return id, created_at, event: int8, timestamp, text
SELECT z.id, z.created_at, z.event::text FROM (
    SELECT y.id, y.created_at, y.event FROM (
        SELECT t.id, t.created_at, t.event FROM {session_track_events t}
        WHERE t.app_name = :app_name AND t.user_id = :user_id AND t.session_id = :session_id
          AND t.track = :track AND {live t}
          /*?if since*/ AND t.created_at > :since /*?end*/
        ORDER BY t.created_at DESC FETCH FIRST (:limit) ROWS WITH TIES
    ) AS y ORDER BY y.created_at DESC, y.id DESC LIMIT :limit
) AS z ORDER BY z.created_at, z.id;

-- name: get_window :many
-- Events around one, oldest first; side is -1 before it, 0 for itself, 1 after it. What counts is
-- text of the given roles (of user, assistant, tool) in the first choice, no calls of tools. No
-- row: there is no such session, or no such event that counts. `find` INDEX needs the optional index
-- session_events.event_id, and reads that; SCAN reads the session from its beginning.
-- param app_name, user_id: session_events.app_name, session_events.user_id
-- param session_id: session_events.session_id
-- param event_id, roles: text, text[]
-- param before, after: int8, int8
-- return side, id, created_at, event: int4, int8, timestamp, text
WITH c AS MATERIALIZED (
    /*?by find scan*/ SELECT e.id, e.app_name, e.user_id, e.created_at, e.deleted_at, e.event
    FROM {session_events e}
    WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
      AND {not_deleted e} AND e.event ->> 'id' = :event_id
    ORDER BY e.created_at LIMIT 1
    /*?or index: SELECT e.id, e.app_name, e.user_id, e.created_at, e.deleted_at, e.event
    FROM {session_events e}
    WHERE e.session_id = :session_id AND e.event ->> 'id' = :event_id */ /*?end*/
), a AS MATERIALIZED (
    SELECT y.id, y.created_at, y.event FROM (
        SELECT c.id, c.created_at, c.event FROM c
        WHERE c.app_name = :app_name AND c.user_id = :user_id AND c.deleted_at IS NULL
          AND EXISTS (SELECT FROM {session_states s}
                      WHERE s.app_name = :app_name AND s.user_id = :user_id
                        AND s.session_id = :session_id
                        AND {live s})
        ORDER BY c.created_at, c.id LIMIT 1
    ) AS y
    WHERE jsonb_path_exists(y.event, '
              $ ? (!(@.is_partial == true)).choices[0].message
              ? (!exists(@.tool_calls[*] ? (@ != null)) &&
                 (exists(@.content ? (@ like_regex "[^\\s]")) ||
                  exists(@.content_parts[*].text ? (@ like_regex "[^\\s]"))))')
          AND CASE WHEN coalesce(y.event #>> '{choices,0,message,tool_id}', '') <> ''
              THEN 'tool'
              ELSE CASE coalesce(y.event #>> '{choices,0,message,role}', '')
                  WHEN '' THEN 'assistant' WHEN 'assistant' THEN 'assistant'
                  WHEN 'user' THEN 'user' WHEN 'tool' THEN 'tool' END
              END = ANY (:roles)
), b AS MATERIALIZED (
    SELECT x.id, x.created_at, x.event FROM (
        SELECT e.id, e.created_at, e.event FROM {session_events e}
        WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
          AND {not_deleted e} AND e.created_at <= (SELECT a.created_at FROM a)
          AND (e.created_at, e.id) < (SELECT a.created_at, a.id FROM a)
          AND jsonb_path_exists(e.event, '
              $ ? (!(@.is_partial == true)).choices[0].message
              ? (!exists(@.tool_calls[*] ? (@ != null)) &&
                 (exists(@.content ? (@ like_regex "[^\\s]")) ||
                  exists(@.content_parts[*].text ? (@ like_regex "[^\\s]"))))')
          AND CASE WHEN coalesce(e.event #>> '{choices,0,message,tool_id}', '') <> ''
              THEN 'tool'
              ELSE CASE coalesce(e.event #>> '{choices,0,message,role}', '')
                  WHEN '' THEN 'assistant' WHEN 'assistant' THEN 'assistant'
                  WHEN 'user' THEN 'user' WHEN 'tool' THEN 'tool' END
              END = ANY (:roles)
        ORDER BY e.created_at DESC FETCH FIRST (:before) ROWS WITH TIES
    ) AS x ORDER BY x.created_at DESC, x.id DESC LIMIT :before
), n AS MATERIALIZED (
    SELECT x.id, x.created_at, x.event FROM (
        SELECT e.id, e.created_at, e.event FROM {session_events e}
        WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
          AND {not_deleted e} AND e.created_at >= (SELECT a.created_at FROM a)
          AND (e.created_at, e.id) > (SELECT a.created_at, a.id FROM a)
          AND jsonb_path_exists(e.event, '
              $ ? (!(@.is_partial == true)).choices[0].message
              ? (!exists(@.tool_calls[*] ? (@ != null)) &&
                 (exists(@.content ? (@ like_regex "[^\\s]")) ||
                  exists(@.content_parts[*].text ? (@ like_regex "[^\\s]"))))')
          AND CASE WHEN coalesce(e.event #>> '{choices,0,message,tool_id}', '') <> ''
              THEN 'tool'
              ELSE CASE coalesce(e.event #>> '{choices,0,message,role}', '')
                  WHEN '' THEN 'assistant' WHEN 'assistant' THEN 'assistant'
                  WHEN 'user' THEN 'user' WHEN 'tool' THEN 'tool' END
              END = ANY (:roles)
        ORDER BY e.created_at FETCH FIRST (:after) ROWS WITH TIES
    ) AS x ORDER BY x.created_at, x.id LIMIT :after
)
SELECT z.side, z.id, z.created_at, z.event::text FROM (
    SELECT -1 AS side, b.id, b.created_at, b.event FROM b
    UNION ALL
    SELECT 0, a.id, a.created_at, a.event FROM a
    UNION ALL
    SELECT 1, n.id, n.created_at, n.event FROM n
) AS z ORDER BY z.created_at, z.id;

-- ---- changing a session ----

-- name: lock_session :maybe
-- Locks a session's row until the transaction ends; what follows in a pipeline sees all that was
-- written to it before.
-- param app_name, user_id: session_states.app_name, session_states.user_id
-- param session_id: session_states.session_id
-- return id: session_states.id
SELECT s.id FROM {session_states s}
WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
  AND {not_deleted s} FOR UPDATE;

-- name: lock_sessions :execrows
-- The same for many, in an order that all use.
-- param app_names, user_ids, session_ids: text[], text[], text[]
SELECT s.id FROM {session_states s}
WHERE {not_deleted s} AND (s.app_name, s.user_id, s.session_id) IN (
    SELECT g.app_name, g.user_id, g.session_id
    FROM unnest(:app_names::text[], :user_ids::text[], :session_ids::text[])
         AS g (app_name, user_id, session_id))
ORDER BY s.id FOR UPDATE;

-- name: update_state :maybe
-- Merges `delta` into a session's state, without `removed` keys; revives one that has expired. Also
-- what appending comes to when the event itself is not stored. No row: can_be_changed() says why.
-- It expires after `ttl` (NULL: never), counted from now; but as long as no more than `ttl_slack`
-- of it is used up, expires_at stays as it is, so that no index has to change.
-- param app_name, user_id: session_states.app_name, session_states.user_id
-- param session_id: session_states.session_id
-- param delta, removed: jsonb, text[]
-- param ttl, ttl_slack: interval?, interval
-- return updated_at: session_states.updated_at
UPDATE {session_states s}
SET state = CASE
        WHEN :delta = '{}' AND cardinality(:removed) = 0 AND s.state IS NOT NULL THEN s.state
        ELSE jsonb_set(jsonb_set(
            coalesce(nullif(s.state, 'null'), jsonb_build_object(
                'id', s.session_id, 'createdAt', s.created_at AT TIME ZONE 'UTC')),
            '{state}',
            (coalesce(nullif(s.state -> 'state', 'null'), '{}') - :removed) || :delta),
            '{updatedAt}', to_jsonb(clock_timestamp()))
    END,
    updated_at = greatest(clock_timestamp() AT TIME ZONE 'UTC', s.updated_at + interval '1 us'),
    expires_at = CASE WHEN s.expires_at
        BETWEEN (clock_timestamp() AT TIME ZONE 'UTC') + :ttl - :ttl_slack
            AND (clock_timestamp() AT TIME ZONE 'UTC') + :ttl
        THEN s.expires_at ELSE (clock_timestamp() AT TIME ZONE 'UTC') + :ttl END
WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
  AND {not_deleted s} AND coalesce(jsonb_typeof(s.state), 'null') IN ('object', 'null')
  AND coalesce(jsonb_typeof(s.state -> 'state'), 'null') IN ('object', 'null')
RETURNING s.updated_at;

-- name: can_be_changed :maybe
-- Whether the stored state of a session is one that update_state() and append_event() can change:
-- an object, or nothing. No row: there is no such session.
-- param app_name, user_id: session_states.app_name, session_states.user_id
-- param session_id: session_states.session_id
-- return sound: bool
SELECT coalesce(jsonb_typeof(s.state), 'null') IN ('object', 'null')
       AND coalesce(jsonb_typeof(s.state -> 'state'), 'null') IN ('object', 'null')
FROM {session_states s}
WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
  AND {not_deleted s};

-- name: append_event :maybe
-- Stores an event, and merges `delta` into the session's state as update_state() does. Status 1:
-- done; 3: an event with `event_id` is there already: its id and time, nothing is changed. No row:
-- can_be_changed() says why.
-- With `event_id`, lock_session() must go before in the same pipeline: a session that it did not
-- find is none, though it may have come since, with an event of this id on its way. The optional
-- index session_events.event_id must be there: without it the whole table is read.
-- param app_name, user_id: session_events.app_name, session_events.user_id
-- param session_id, event: session_events.session_id, session_events.event
-- param event_id: text
-- param delta: jsonb
-- param ttl, ttl_slack: interval?, interval
-- return status, id, created_at: int4, int8?, timestamp?
WITH /*?if event_id*/ c AS MATERIALIZED (
    SELECT e.id, e.app_name, e.user_id, e.created_at, e.deleted_at FROM {session_events e}
    WHERE e.session_id = :session_id AND e.event ->> 'id' = :event_id
), d AS MATERIALIZED (
    SELECT c.id, c.created_at FROM c
    WHERE c.app_name = :app_name AND c.user_id = :user_id AND c.deleted_at IS NULL
    ORDER BY c.created_at, c.id LIMIT 1
), l AS MATERIALIZED (
    SELECT s.id FROM {session_states s}
    WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
      AND {not_deleted s} AND (txid_current() & 4294967295)::text::xid IN (s.xmin, s.xmax)
), /*?end*/ t AS (
    UPDATE {session_states s}
    SET state = CASE
            WHEN :delta = '{}' AND s.state IS NOT NULL THEN s.state
            ELSE jsonb_set(jsonb_set(
                coalesce(nullif(s.state, 'null'), jsonb_build_object(
                    'id', s.session_id, 'createdAt', s.created_at AT TIME ZONE 'UTC')),
                '{state}', coalesce(nullif(s.state -> 'state', 'null'), '{}') || :delta),
                '{updatedAt}', to_jsonb(clock_timestamp()))
        END,
        updated_at = greatest(clock_timestamp() AT TIME ZONE 'UTC', s.updated_at + interval '1 us'),
        expires_at = CASE WHEN s.expires_at
            BETWEEN (clock_timestamp() AT TIME ZONE 'UTC') + :ttl - :ttl_slack
                AND (clock_timestamp() AT TIME ZONE 'UTC') + :ttl
            THEN s.expires_at ELSE (clock_timestamp() AT TIME ZONE 'UTC') + :ttl END
    WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
      AND {not_deleted s} AND coalesce(jsonb_typeof(s.state), 'null') IN ('object', 'null')
      AND coalesce(jsonb_typeof(s.state -> 'state'), 'null') IN ('object', 'null')
      /*?if event_id*/ AND EXISTS (SELECT FROM l) AND NOT EXISTS (SELECT FROM d) /*?end*/
    RETURNING s.updated_at
), i AS (
    INSERT INTO {session_events e} (app_name, user_id, session_id, event, created_at, updated_at)
    SELECT :app_name, :user_id, :session_id, :event, t.updated_at, t.updated_at FROM t
    RETURNING e.id, e.created_at
)
SELECT 1, i.id, i.created_at FROM i
/*?if event_id*/ UNION ALL
SELECT 3, d.id, d.created_at FROM d
WHERE EXISTS (SELECT FROM {session_states s}
              WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
                AND {not_deleted s}) /*?end*/;

-- name: append_track_event :maybe
-- Stores an event of a track and registers the track in the session's state. `at` is the event's
-- own time; NULL: now. Status 1: done; 2: the stored state is no object, or its list of tracks no
-- array. A list that cannot be decoded is an error of class 22. No row: there is no such session.
-- param app_name, user_id: session_track_events.app_name, session_track_events.user_id
-- param session_id, track: session_track_events.session_id, session_track_events.track
-- param event: session_track_events.event
-- param at: timestamp?
-- param ttl, ttl_slack, track_ttl: interval?, interval, interval?
-- return status, id, created_at: int4, int8?, timestamp?
WITH t AS (
    UPDATE {session_states s}
    SET state = jsonb_set(jsonb_set(
                coalesce(nullif(s.state, 'null'), jsonb_build_object(
                    'id', s.session_id, 'createdAt', s.created_at AT TIME ZONE 'UTC')),
            '{state}', coalesce(nullif(s.state -> 'state', 'null'), '{}') || (
                SELECT CASE WHEN l.tracks ? :track::text THEN '{}' ELSE jsonb_build_object('tracks',
                    translate(encode(convert_to((l.tracks || to_jsonb(:track::text))::text, 'UTF8'),
                                     'base64'), E'\n', '')) END
                FROM (SELECT CASE
          WHEN coalesce(s.state #>> '{state,tracks}', '') = '' THEN '[]'::jsonb
          ELSE coalesce(nullif(convert_from(decode(s.state #>> '{state,tracks}', 'base64'),
                                            'UTF8')::jsonb, 'null'), '[]') END AS tracks) AS l)),
            '{updatedAt}', to_jsonb(clock_timestamp())),
        updated_at = greatest(clock_timestamp() AT TIME ZONE 'UTC', s.updated_at + interval '1 us'),
        expires_at = CASE WHEN s.expires_at
            BETWEEN (clock_timestamp() AT TIME ZONE 'UTC') + :ttl - :ttl_slack
                AND (clock_timestamp() AT TIME ZONE 'UTC') + :ttl
            THEN s.expires_at ELSE (clock_timestamp() AT TIME ZONE 'UTC') + :ttl END
    WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
      AND {not_deleted s} AND coalesce(jsonb_typeof(s.state), 'null') IN ('object', 'null')
      AND coalesce(jsonb_typeof(s.state -> 'state'), 'null') IN ('object', 'null')
      AND jsonb_typeof(CASE
          WHEN coalesce(s.state #>> '{state,tracks}', '') = '' THEN '[]'::jsonb
          ELSE coalesce(nullif(convert_from(decode(s.state #>> '{state,tracks}', 'base64'),
                                            'UTF8')::jsonb, 'null'), '[]') END) = 'array'
    RETURNING s.updated_at
), i AS (
    INSERT INTO {session_track_events e}
        (app_name, user_id, session_id, track, event, created_at, updated_at, expires_at)
    SELECT :app_name, :user_id, :session_id, :track, :event, coalesce(:at, t.updated_at),
           coalesce(:at, t.updated_at), t.updated_at + :track_ttl
    FROM t
    RETURNING e.id, e.created_at
)
SELECT 1, i.id, i.created_at FROM i
UNION ALL
SELECT 2, NULL, NULL FROM {session_states s}
WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
  AND {not_deleted s} AND NOT (coalesce(jsonb_typeof(s.state), 'null') IN ('object', 'null')
      AND coalesce(jsonb_typeof(s.state -> 'state'), 'null') IN ('object', 'null')
      AND jsonb_typeof(CASE
          WHEN coalesce(s.state #>> '{state,tracks}', '') = '' THEN '[]'::jsonb
          ELSE coalesce(nullif(convert_from(decode(s.state #>> '{state,tracks}', 'base64'),
                                            'UTF8')::jsonb, 'null'), '[]') END) = 'array');

-- name: append_group :many
-- Appends to many sessions at once. Each session stands once in the first five arrays, with its
-- deltas merged; `places` says for each event, in order, which of them (from 1) it belongs to.
-- `meant` is created_at of the session that is meant; NULL: whichever there is. A row for each
-- session: status 0: there is none, or another one than was meant; 1: done; 2: its stored state is
-- no object. Its events end at updated_at, a microsecond apart.
-- `once` YES leaves out events whose id, if it is a text, is there already. A session of which some
-- are left out gets the stateDelta of its other events in place of its delta, so that a repetition
-- takes nothing back. lock_sessions() must go before in the same pipeline (what it did not find has
-- status 0), and the optional index session_events.event_id be there.
-- param app_names, user_ids, session_ids, deltas: text[], text[], text[], jsonb[]
-- param meant: timestamp[]
-- param places, events: int8[], jsonb[]
-- param ttl, ttl_slack: interval?, interval
-- return place, status, stored: int8, int4, int8
-- return updated_at, created_at: timestamp?, timestamp?
WITH g AS MATERIALIZED (
    SELECT x.app_name, x.user_id, x.session_id, x.delta, x.meant, x.place
    FROM unnest(:app_names::text[], :user_ids::text[], :session_ids::text[], :deltas::jsonb[],
                :meant::timestamp[])
         WITH ORDINALITY AS x (app_name, user_id, session_id, delta, meant, place)
), y AS MATERIALIZED (
    /*?by once no*/ SELECT y.place, y.event, y.ord
    FROM unnest(:places::int8[], :events::jsonb[]) WITH ORDINALITY AS y (place, event, ord)
    /*?or yes: SELECT k.place, k.event, k.ord FROM (
        SELECT x.place, x.event, x.ord, x.event_id,
               row_number() OVER (PARTITION BY x.place, x.event_id ORDER BY x.ord) AS copy
        FROM (
            SELECT y.place, y.event, y.ord, CASE WHEN jsonb_typeof(y.event -> 'id') = 'string'
                       THEN nullif(y.event ->> 'id', '') END AS event_id
            FROM unnest(:places::int8[], :events::jsonb[]) WITH ORDINALITY AS y (place, event, ord)
        ) AS x
    ) AS k JOIN g ON g.place = k.place
    WHERE k.event_id IS NULL OR k.copy = 1 AND NOT EXISTS (
        WITH c AS MATERIALIZED (
            SELECT e.app_name, e.user_id, e.deleted_at FROM {session_events e}
            WHERE e.session_id = g.session_id AND e.event ->> 'id' = k.event_id
        )
        SELECT FROM c
        WHERE c.app_name = g.app_name AND c.user_id = g.user_id
          AND c.deleted_at IS NULL) */ /*?end*/
), n AS (
    SELECT y.place, count(*) AS n FROM y GROUP BY y.place
), /*?by once no*/ /*?or yes: o AS (
    SELECT x.place, count(*) AS n FROM unnest(:places::int8[]) AS x (place) GROUP BY x.place
), */ /*?end*/ l AS MATERIALIZED (
    SELECT s.id, s.app_name, s.user_id, s.session_id, s.created_at FROM {session_states s}
    WHERE {not_deleted s} AND (s.app_name, s.user_id, s.session_id) IN (
        SELECT g.app_name, g.user_id, g.session_id FROM g)
      /*?by once no*/ /*?or yes: AND s.id = ANY (ARRAY(
          SELECT o.id FROM {session_states o}
          WHERE {not_deleted o} AND (o.app_name, o.user_id, o.session_id) IN (
              SELECT g.app_name, g.user_id, g.session_id FROM g)
            AND (txid_current() & 4294967295)::text::xid IN (o.xmin, o.xmax))) */ /*?end*/
    ORDER BY s.id FOR UPDATE OF s
), h AS MATERIALIZED (
    SELECT l.id, l.created_at, g.place, coalesce(n.n, 0) AS n,
        /*?by once no*/ g.delta
        /*?or yes: CASE WHEN n.n IS NOT DISTINCT FROM o.n THEN g.delta ELSE coalesce((
            SELECT jsonb_object_agg(j.key, j.value ORDER BY y.ord)
            FROM y CROSS JOIN LATERAL jsonb_each(
                CASE jsonb_typeof(y.event -> 'stateDelta') WHEN 'object'
                THEN y.event -> 'stateDelta' ELSE '{}' END) AS j
            WHERE y.place = g.place), '{}') END AS delta */ /*?end*/
    FROM l JOIN g ON g.app_name = l.app_name AND g.user_id = l.user_id
                 AND g.session_id = l.session_id
                 AND coalesce(g.meant, l.created_at) = l.created_at
    LEFT JOIN n ON n.place = g.place
    /*?by once no*/ /*?or yes: LEFT JOIN o ON o.place = g.place */ /*?end*/
), u AS (
    UPDATE {session_states s}
    SET state = CASE
            WHEN h.delta = '{}' AND s.state IS NOT NULL THEN s.state
            ELSE jsonb_set(jsonb_set(
                coalesce(nullif(s.state, 'null'), jsonb_build_object(
                    'id', s.session_id, 'createdAt', s.created_at AT TIME ZONE 'UTC')),
                '{state}', coalesce(nullif(s.state -> 'state', 'null'), '{}') || h.delta),
                '{updatedAt}', to_jsonb(clock_timestamp()))
        END,
        updated_at = greatest(clock_timestamp() AT TIME ZONE 'UTC', s.updated_at + interval '1 us')
            + greatest(h.n - 1, 0) * interval '1 us',
        expires_at = CASE WHEN s.expires_at
            BETWEEN (clock_timestamp() AT TIME ZONE 'UTC') + :ttl - :ttl_slack
                AND (clock_timestamp() AT TIME ZONE 'UTC') + :ttl
            THEN s.expires_at ELSE (clock_timestamp() AT TIME ZONE 'UTC') + :ttl END
    FROM h
    WHERE s.id = h.id AND coalesce(jsonb_typeof(s.state), 'null') IN ('object', 'null')
      AND coalesce(jsonb_typeof(s.state -> 'state'), 'null') IN ('object', 'null')
    RETURNING h.place, h.n, s.app_name, s.user_id, s.session_id, s.updated_at
), i AS (
    INSERT INTO {session_events e} (app_name, user_id, session_id, event, created_at, updated_at)
    SELECT r.app_name, r.user_id, r.session_id, r.event, r.at, r.at FROM (
        SELECT u.app_name, u.user_id, u.session_id, y.event, y.ord, u.updated_at - interval '1 us'
                   * (u.n - row_number() OVER (PARTITION BY y.place ORDER BY y.ord)) AS at
        FROM y JOIN u ON u.place = y.place
    ) AS r ORDER BY r.ord
)
SELECT g.place, CASE WHEN u.place IS NOT NULL THEN 1 WHEN h.place IS NOT NULL THEN 2 ELSE 0 END,
       coalesce(u.n, 0), u.updated_at, h.created_at
FROM g LEFT JOIN h ON h.place = g.place LEFT JOIN u ON u.place = g.place
ORDER BY g.place;

-- ---- state of applications and users ----

-- name: put_app_states :execrows
-- Stores values of an application's state, all or none; of equal keys the last one counts. With
-- `owner_id` and `session_id` only if this transaction has changed that session before.
-- param app_name: app_states.app_name
-- param owner_id, session_id: session_states.user_id, session_states.session_id
-- param keys, values: text[], text[]
-- param ttl: interval?
INSERT INTO {app_states a} (app_name, key, value, created_at, updated_at, expires_at)
SELECT :app_name, x.key, x.value, {now a.created_at}, {now a.updated_at},
       {now a.updated_at} + :ttl
FROM (
    SELECT DISTINCT ON (v.key COLLATE "C") v.key, v.value
    FROM unnest(:keys::text[], :values::text[]) WITH ORDINALITY AS v (key, value, ord)
    ORDER BY v.key COLLATE "C", v.ord DESC
) AS x
/*?if owner_id, session_id*/ WHERE EXISTS (
    SELECT FROM {session_states s}
    WHERE s.app_name = :app_name AND s.user_id = :owner_id AND s.session_id = :session_id
      AND {not_deleted s} AND s.xmin = (txid_current() & 4294967295)::text::xid) /*?end*/
ON CONFLICT (app_name, key) WHERE deleted_at IS NULL
DO UPDATE SET value = EXCLUDED.value, updated_at = EXCLUDED.updated_at,
              expires_at = EXCLUDED.expires_at;

-- name: put_user_states :execrows
-- Stores values of a user's state, all or none; of equal keys the last one counts. With
-- `session_id` only if this transaction has changed that session before.
-- param app_name, user_id: user_states.app_name, user_states.user_id
-- param session_id: session_states.session_id
-- param keys, values: text[], text[]
-- param ttl: interval?
INSERT INTO {user_states u} (app_name, user_id, key, value, created_at, updated_at, expires_at)
SELECT :app_name, :user_id, x.key, x.value, {now u.created_at}, {now u.updated_at},
       {now u.updated_at} + :ttl
FROM (
    SELECT DISTINCT ON (v.key COLLATE "C") v.key, v.value
    FROM unnest(:keys::text[], :values::text[]) WITH ORDINALITY AS v (key, value, ord)
    ORDER BY v.key COLLATE "C", v.ord DESC
) AS x
/*?if session_id*/ WHERE EXISTS (
    SELECT FROM {session_states s}
    WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
      AND {not_deleted s} AND s.xmin = (txid_current() & 4294967295)::text::xid) /*?end*/
ON CONFLICT (app_name, user_id, key) WHERE deleted_at IS NULL
DO UPDATE SET value = EXCLUDED.value, updated_at = EXCLUDED.updated_at,
              expires_at = EXCLUDED.expires_at;

-- name: list_app_states :many
-- param app_name: app_states.app_name
-- return key, value: app_states.key, app_states.value
SELECT a.key, a.value FROM {app_states a}
WHERE a.app_name = :app_name AND {live a} ORDER BY a.key;

-- name: list_user_states :many
-- param app_name, user_id: user_states.app_name, user_states.user_id
-- return key, value: user_states.key, user_states.value
SELECT u.key, u.value FROM {user_states u}
WHERE u.app_name = :app_name AND u.user_id = :user_id AND {live u} ORDER BY u.key;

-- name: delete_app_state :execrows
-- param app_name, key: app_states.app_name, app_states.key
UPDATE {app_states a} SET deleted_at = now() AT TIME ZONE 'UTC'
WHERE a.app_name = :app_name AND a.key = :key AND {not_deleted a};

-- name: delete_user_state :execrows
-- param app_name, user_id, key: user_states.app_name, user_states.user_id, user_states.key
UPDATE {user_states u} SET deleted_at = now() AT TIME ZONE 'UTC'
WHERE u.app_name = :app_name AND u.user_id = :user_id AND u.key = :key AND {not_deleted u};

-- name: hard_delete_app_state :execrows
-- For good, and what was deleted softly before.
-- param app_name, key: app_states.app_name, app_states.key
DELETE FROM {app_states a} WHERE a.app_name = :app_name AND a.key = :key;

-- name: hard_delete_user_state :execrows
-- For good, and what was deleted softly before.
-- param app_name, user_id, key: user_states.app_name, user_states.user_id, user_states.key
DELETE FROM {user_states u}
WHERE u.app_name = :app_name AND u.user_id = :user_id AND u.key = :key;

-- ---- deleting, restoring, cutting off ----

-- name: delete_session :execrows
-- The session's own row. Its events, tracks and summaries follow in the same pipeline.
-- param app_name, user_id: session_states.app_name, session_states.user_id
-- param session_id: session_states.session_id
UPDATE {session_states s} SET deleted_at = now() AT TIME ZONE 'UTC'
WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
  AND {not_deleted s};

-- name: delete_session_events :execrows
-- After delete_session(), in its transaction. Nothing while there is a session.
-- param app_name, user_id: session_events.app_name, session_events.user_id
-- param session_id: session_events.session_id
UPDATE {session_events e} SET deleted_at = now() AT TIME ZONE 'UTC'
WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
  AND {not_deleted e} AND NOT EXISTS (
      SELECT FROM {session_states s}
      WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
        AND {not_deleted s});

-- name: delete_session_tracks :execrows
-- After delete_session(), in its transaction. Nothing while there is a session.
-- param app_name, user_id: session_track_events.app_name, session_track_events.user_id
-- param session_id: session_track_events.session_id
UPDATE {session_track_events e} SET deleted_at = now() AT TIME ZONE 'UTC'
WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
  AND {not_deleted e} AND NOT EXISTS (
      SELECT FROM {session_states s}
      WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
        AND {not_deleted s});

-- name: delete_session_summaries :execrows
-- After delete_session(), in its transaction. Nothing while there is a session.
-- param app_name, user_id: session_summaries.app_name, session_summaries.user_id
-- param session_id: session_summaries.session_id
UPDATE {session_summaries e} SET deleted_at = now() AT TIME ZONE 'UTC'
WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
  AND {not_deleted e} AND NOT EXISTS (
      SELECT FROM {session_states s}
      WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
        AND {not_deleted s});

-- name: hard_delete_session :execrows
-- The session's own row for good, and those that were deleted softly before. Its events, tracks and
-- summaries follow in the same pipeline.
-- param app_name, user_id: session_states.app_name, session_states.user_id
-- param session_id: session_states.session_id
DELETE FROM {session_states s}
WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id;

-- name: hard_delete_session_events :execrows
-- After hard_delete_session(), in its transaction. Nothing while there is a session.
-- param app_name, user_id: session_events.app_name, session_events.user_id
-- param session_id: session_events.session_id
DELETE FROM {session_events e}
WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
  AND NOT EXISTS (
      SELECT FROM {session_states s}
      WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
        AND {not_deleted s});

-- name: hard_delete_session_tracks :execrows
-- After hard_delete_session(), in its transaction. Nothing while there is a session.
-- param app_name, user_id: session_track_events.app_name, session_track_events.user_id
-- param session_id: session_track_events.session_id
DELETE FROM {session_track_events e}
WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
  AND NOT EXISTS (
      SELECT FROM {session_states s}
      WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
        AND {not_deleted s});

-- name: hard_delete_session_summaries :execrows
-- After hard_delete_session(), in its transaction. Nothing while there is a session.
-- param app_name, user_id: session_summaries.app_name, session_summaries.user_id
-- param session_id: session_summaries.session_id
DELETE FROM {session_summaries e}
WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
  AND NOT EXISTS (
      SELECT FROM {session_states s}
      WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
        AND {not_deleted s});

-- name: restore_session :maybe
-- Takes back the last soft deletion of a session, and of what was deleted with it. Nothing if there
-- is none, or if a session lives under this identity. It expires after `ttl`, counted from now.
-- param app_name, user_id: session_states.app_name, session_states.user_id
-- param session_id: session_states.session_id
-- param ttl: interval?
-- return id, events, tracks, summaries: session_states.id, int8, int8, int8
WITH d AS MATERIALIZED (
    SELECT s.id, s.deleted_at FROM {session_states s}
    WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
      AND s.deleted_at IS NOT NULL
    ORDER BY s.deleted_at DESC, s.id DESC LIMIT 1 FOR UPDATE
), t AS (
    UPDATE {session_states s}
    SET deleted_at = NULL, expires_at = (clock_timestamp() AT TIME ZONE 'UTC') + :ttl
    FROM d
    WHERE s.id = d.id AND NOT EXISTS (
        SELECT FROM {session_states o}
        WHERE o.app_name = :app_name AND o.user_id = :user_id AND o.session_id = :session_id
          AND {not_deleted o})
    RETURNING s.id, d.deleted_at
), e AS (
    UPDATE {session_events e} SET deleted_at = NULL FROM t
    WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
      AND e.deleted_at = t.deleted_at RETURNING e.id
), r AS (
    UPDATE {session_track_events r} SET deleted_at = NULL FROM t
    WHERE r.app_name = :app_name AND r.user_id = :user_id AND r.session_id = :session_id
      AND r.deleted_at = t.deleted_at RETURNING r.id
), y AS (
    UPDATE {session_summaries y} SET deleted_at = NULL FROM t
    WHERE y.app_name = :app_name AND y.user_id = :user_id AND y.session_id = :session_id
      AND y.deleted_at = t.deleted_at
      AND NOT EXISTS ( -- one that a peer stored meanwhile, which does not look for the session
          SELECT FROM {session_summaries p}
          WHERE p.app_name = y.app_name AND p.user_id = y.user_id AND p.session_id = y.session_id
            AND p.filter_key = y.filter_key AND {not_deleted p})
    RETURNING y.id
)
SELECT t.id, (SELECT count(*) FROM e), (SELECT count(*) FROM r), (SELECT count(*) FROM y) FROM t;

-- name: truncate_session :maybe
-- First of a pipeline that cuts a session off behind an event; then truncate_summaries() and
-- truncate_events() with the same `cut` and `find`. `cut` AFTER keeps the event, FROM removes it
-- too, ALL removes every event. State is not undone. Status 1: go on; 2: there is no such event. No
-- row: there is no such session.
-- param app_name, user_id: session_events.app_name, session_events.user_id
-- param session_id: session_events.session_id
-- param event_id: text
-- param ttl, ttl_slack: interval?, interval
-- return status, updated_at: int4, timestamp?
WITH a AS MATERIALIZED (
    SELECT x.created_at, x.id FROM (
        /*?by find scan*/ SELECT e.created_at, e.id, e.app_name, e.user_id, e.deleted_at
        FROM {session_events e}
        WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
          AND {not_deleted e} AND e.event ->> 'id' = :event_id
        ORDER BY e.created_at DESC LIMIT 1
        /*?or index: SELECT e.created_at, e.id, e.app_name, e.user_id, e.deleted_at
        FROM {session_events e}
        WHERE e.session_id = :session_id AND e.event ->> 'id' = :event_id OFFSET 0 */ /*?end*/
    ) AS x WHERE x.app_name = :app_name AND x.user_id = :user_id AND x.deleted_at IS NULL
    ORDER BY x.created_at DESC, x.id DESC LIMIT 1
), t AS (
    UPDATE {session_states s}
    SET updated_at = greatest(clock_timestamp() AT TIME ZONE 'UTC', s.updated_at + interval '1 us'),
        expires_at = CASE WHEN s.expires_at
            BETWEEN (clock_timestamp() AT TIME ZONE 'UTC') + :ttl - :ttl_slack
                AND (clock_timestamp() AT TIME ZONE 'UTC') + :ttl
            THEN s.expires_at ELSE (clock_timestamp() AT TIME ZONE 'UTC') + :ttl END
    WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
      AND {not_deleted s}
      /*?by cut after*/ AND EXISTS (SELECT FROM a) /*?or from: AND EXISTS (SELECT FROM a) */
      /*?or all: */ /*?end*/
    RETURNING s.updated_at
)
SELECT 1, t.updated_at FROM t
UNION ALL
SELECT 2, NULL FROM {session_states s}
WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
  AND {not_deleted s}
  /*?by cut after*/ AND NOT EXISTS (SELECT FROM a)
  /*?or from: AND NOT EXISTS (SELECT FROM a) */ /*?or all: AND false */ /*?end*/;

-- name: truncate_summaries :execrows
-- After truncate_session(), in its transaction, and before truncate_events(): summaries that cover
-- an event which goes.
-- param app_name, user_id: session_events.app_name, session_events.user_id
-- param session_id: session_events.session_id
-- param event_id: text
WITH z AS MATERIALIZED (
    -- Times that the server can read: one that it cannot would fail the whole statement.
    SELECT '^(?!0000)([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])'
           '|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))'
           '|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)'
           'T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?'
           '(Z|[+-](0[0-9]|1[0-5]):[0-5][0-9])$' AS time
), a AS MATERIALIZED (
    SELECT x.created_at, x.id FROM (
        /*?by find scan*/ SELECT e.created_at, e.id, e.app_name, e.user_id, e.deleted_at
        FROM {session_events e}
        WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
          AND {not_deleted e} AND e.event ->> 'id' = :event_id
        ORDER BY e.created_at DESC LIMIT 1
        /*?or index: SELECT e.created_at, e.id, e.app_name, e.user_id, e.deleted_at
        FROM {session_events e}
        WHERE e.session_id = :session_id AND e.event ->> 'id' = :event_id OFFSET 0 */ /*?end*/
    ) AS x WHERE x.app_name = :app_name AND x.user_id = :user_id AND x.deleted_at IS NULL
    ORDER BY x.created_at DESC, x.id DESC LIMIT 1
), g AS MATERIALIZED (
    SELECT e.event ->> 'id' AS event_id,
           CASE WHEN e.event ->> 'timestamp' ~ (SELECT z.time FROM z)
                THEN (e.event ->> 'timestamp')::timestamptz AT TIME ZONE 'UTC'
                ELSE e.created_at END AS at
    FROM {session_events e}
    WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
      AND {not_deleted e} /*?by cut after*/ AND e.created_at >= (SELECT a.created_at FROM a)
      AND (e.created_at, e.id) > (SELECT a.created_at, a.id FROM a)
      /*?or from: AND e.created_at >= (SELECT a.created_at FROM a)
      AND (e.created_at, e.id) >= (SELECT a.created_at, a.id FROM a) */ /*?or all: */ /*?end*/
)
UPDATE {session_summaries y} SET deleted_at = now() AT TIME ZONE 'UTC'
WHERE y.app_name = :app_name AND y.user_id = :user_id AND y.session_id = :session_id
  AND {not_deleted y}
  /*?by cut after*/ AND CASE WHEN coalesce(y.summary #>> '{boundary,last_event_id}', '') <> ''
           THEN y.summary #>> '{boundary,last_event_id}' IN (SELECT g.event_id FROM g)
           ELSE y.updated_at >= (SELECT min(g.at) FROM g) END
  /*?or from: AND CASE WHEN coalesce(y.summary #>> '{boundary,last_event_id}', '') <> ''
           THEN y.summary #>> '{boundary,last_event_id}' IN (SELECT g.event_id FROM g)
           ELSE y.updated_at >= (SELECT min(g.at) FROM g) END */ /*?or all: */ /*?end*/
  AND EXISTS (
      SELECT FROM {session_states s}
      WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
        AND {not_deleted s} AND s.xmin = (txid_current() & 4294967295)::text::xid);

-- name: truncate_events :execrows
-- After truncate_session(), in its transaction, and last of all.
-- param app_name, user_id: session_events.app_name, session_events.user_id
-- param session_id: session_events.session_id
-- param event_id: text
WITH a AS MATERIALIZED (
    SELECT x.created_at, x.id FROM (
        /*?by find scan*/ SELECT e.created_at, e.id, e.app_name, e.user_id, e.deleted_at
        FROM {session_events e}
        WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
          AND {not_deleted e} AND e.event ->> 'id' = :event_id
        ORDER BY e.created_at DESC LIMIT 1
        /*?or index: SELECT e.created_at, e.id, e.app_name, e.user_id, e.deleted_at
        FROM {session_events e}
        WHERE e.session_id = :session_id AND e.event ->> 'id' = :event_id OFFSET 0 */ /*?end*/
    ) AS x WHERE x.app_name = :app_name AND x.user_id = :user_id AND x.deleted_at IS NULL
    ORDER BY x.created_at DESC, x.id DESC LIMIT 1
)
UPDATE {session_events e} SET deleted_at = now() AT TIME ZONE 'UTC'
WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
  AND {not_deleted e} /*?by cut after*/ AND e.created_at >= (SELECT a.created_at FROM a)
      AND (e.created_at, e.id) > (SELECT a.created_at, a.id FROM a)
      /*?or from: AND e.created_at >= (SELECT a.created_at FROM a)
      AND (e.created_at, e.id) >= (SELECT a.created_at, a.id FROM a) */ /*?or all: */ /*?end*/
  AND EXISTS (
      SELECT FROM {session_states s}
      WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
        AND {not_deleted s} AND s.xmin = (txid_current() & 4294967295)::text::xid);

-- name: hard_truncate_summaries :execrows
-- truncate_summaries() for good.
-- param app_name, user_id: session_events.app_name, session_events.user_id
-- param session_id: session_events.session_id
-- param event_id: text
WITH z AS MATERIALIZED (
    -- Times that the server can read: one that it cannot would fail the whole statement.
    SELECT '^(?!0000)([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])'
           '|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))'
           '|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)'
           'T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?'
           '(Z|[+-](0[0-9]|1[0-5]):[0-5][0-9])$' AS time
), a AS MATERIALIZED (
    SELECT x.created_at, x.id FROM (
        /*?by find scan*/ SELECT e.created_at, e.id, e.app_name, e.user_id, e.deleted_at
        FROM {session_events e}
        WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
          AND {not_deleted e} AND e.event ->> 'id' = :event_id
        ORDER BY e.created_at DESC LIMIT 1
        /*?or index: SELECT e.created_at, e.id, e.app_name, e.user_id, e.deleted_at
        FROM {session_events e}
        WHERE e.session_id = :session_id AND e.event ->> 'id' = :event_id OFFSET 0 */ /*?end*/
    ) AS x WHERE x.app_name = :app_name AND x.user_id = :user_id AND x.deleted_at IS NULL
    ORDER BY x.created_at DESC, x.id DESC LIMIT 1
), g AS MATERIALIZED (
    SELECT e.event ->> 'id' AS event_id,
           CASE WHEN e.event ->> 'timestamp' ~ (SELECT z.time FROM z)
                THEN (e.event ->> 'timestamp')::timestamptz AT TIME ZONE 'UTC'
                ELSE e.created_at END AS at
    FROM {session_events e}
    WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
      AND {not_deleted e} /*?by cut after*/ AND e.created_at >= (SELECT a.created_at FROM a)
      AND (e.created_at, e.id) > (SELECT a.created_at, a.id FROM a)
      /*?or from: AND e.created_at >= (SELECT a.created_at FROM a)
      AND (e.created_at, e.id) >= (SELECT a.created_at, a.id FROM a) */ /*?or all: */ /*?end*/
)
DELETE FROM {session_summaries y}
WHERE y.app_name = :app_name AND y.user_id = :user_id AND y.session_id = :session_id
  AND {not_deleted y}
  /*?by cut after*/ AND CASE WHEN coalesce(y.summary #>> '{boundary,last_event_id}', '') <> ''
           THEN y.summary #>> '{boundary,last_event_id}' IN (SELECT g.event_id FROM g)
           ELSE y.updated_at >= (SELECT min(g.at) FROM g) END
  /*?or from: AND CASE WHEN coalesce(y.summary #>> '{boundary,last_event_id}', '') <> ''
           THEN y.summary #>> '{boundary,last_event_id}' IN (SELECT g.event_id FROM g)
           ELSE y.updated_at >= (SELECT min(g.at) FROM g) END */ /*?or all: */ /*?end*/
  AND EXISTS (
      SELECT FROM {session_states s}
      WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
        AND {not_deleted s} AND s.xmin = (txid_current() & 4294967295)::text::xid);

-- name: hard_truncate_events :execrows
-- truncate_events() for good.
-- param app_name, user_id: session_events.app_name, session_events.user_id
-- param session_id: session_events.session_id
-- param event_id: text
WITH a AS MATERIALIZED (
    SELECT x.created_at, x.id FROM (
        /*?by find scan*/ SELECT e.created_at, e.id, e.app_name, e.user_id, e.deleted_at
        FROM {session_events e}
        WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
          AND {not_deleted e} AND e.event ->> 'id' = :event_id
        ORDER BY e.created_at DESC LIMIT 1
        /*?or index: SELECT e.created_at, e.id, e.app_name, e.user_id, e.deleted_at
        FROM {session_events e}
        WHERE e.session_id = :session_id AND e.event ->> 'id' = :event_id OFFSET 0 */ /*?end*/
    ) AS x WHERE x.app_name = :app_name AND x.user_id = :user_id AND x.deleted_at IS NULL
    ORDER BY x.created_at DESC, x.id DESC LIMIT 1
)
DELETE FROM {session_events e}
WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
  AND {not_deleted e} /*?by cut after*/ AND e.created_at >= (SELECT a.created_at FROM a)
      AND (e.created_at, e.id) > (SELECT a.created_at, a.id FROM a)
      /*?or from: AND e.created_at >= (SELECT a.created_at FROM a)
      AND (e.created_at, e.id) >= (SELECT a.created_at, a.id FROM a) */ /*?or all: */ /*?end*/
  AND EXISTS (
      SELECT FROM {session_states s}
      WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
        AND {not_deleted s} AND s.xmin = (txid_current() & 4294967295)::text::xid);

-- ---- summaries ----

-- name: put_summary :maybe
-- Stores the summary of a filter key. `cutoff` is the time of the last event it covers; stored as
-- updated_at, but never before the session's creation. Status 1: done; 2: one is there that reaches
-- further; 3: the last event covered is gone, with its session or cut off. No row: there is no such
-- session. With `last_row`, the id of that event's row, lock_session() must go before in the same
-- pipeline; so it must with `previous`, the id of the summary's row that is written anew without
-- another event: 3 then says that this one is gone. With `created_at` a session that was created
-- anew is no such session.
-- param app_name, user_id: session_summaries.app_name, session_summaries.user_id
-- param session_id, filter_key: session_summaries.session_id, session_summaries.filter_key
-- param summary: jsonb
-- param cutoff: session_summaries.updated_at
-- param last_row, previous: session_events.id, session_summaries.id
-- param created_at: session_states.created_at
-- return status, updated_at: int4, timestamp?
WITH l AS MATERIALIZED (
    SELECT s.created_at FROM {session_states s}
    WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
      AND {not_deleted s} /*?if created_at*/ AND s.created_at = :created_at /*?end*/
    FOR NO KEY UPDATE
), k AS MATERIALIZED (
    SELECT l.created_at FROM l WHERE true
    /*?if last_row*/ AND EXISTS (
        SELECT FROM {session_events e}
        WHERE e.id = :last_row AND {not_deleted e} AND e.app_name = :app_name
          AND e.user_id = :user_id AND e.session_id = :session_id) /*?end*/
    /*?if previous*/ AND EXISTS (
        SELECT FROM {session_summaries p} WHERE p.id = :previous AND {not_deleted p}) /*?end*/
), i AS (
    INSERT INTO {session_summaries y}
        (app_name, user_id, session_id, filter_key, summary, updated_at, expires_at)
    SELECT :app_name, :user_id, :session_id, :filter_key, :summary,
           greatest(:cutoff, k.created_at), NULL
    FROM k
    ON CONFLICT (app_name, user_id, session_id, filter_key) WHERE deleted_at IS NULL
    DO UPDATE SET summary = EXCLUDED.summary, updated_at = EXCLUDED.updated_at,
                  expires_at = EXCLUDED.expires_at
    -- Of equal times that one is newer whose last event comes later.
    WHERE y.updated_at < EXCLUDED.updated_at OR y.updated_at = EXCLUDED.updated_at
        /*?if last_row*/ AND NOT EXISTS (
            SELECT FROM {session_events r} JOIN {session_events e}
              ON e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
             AND {not_deleted e} AND e.created_at >= r.created_at
             AND (e.created_at, e.id) > (r.created_at, r.id)
            WHERE r.id = :last_row
              AND e.event ->> 'id' = y.summary #>> '{boundary,last_event_id}') /*?end*/
        /*?if previous*/ AND y.summary #>> '{boundary,last_event_id}'
            IS NOT DISTINCT FROM EXCLUDED.summary #>> '{boundary,last_event_id}' /*?end*/
    RETURNING y.updated_at
)
SELECT CASE WHEN EXISTS (SELECT FROM i) THEN 1 WHEN EXISTS (SELECT FROM k) THEN 2 ELSE 3 END,
       (SELECT i.updated_at FROM i)
FROM l;

-- name: get_summary :maybe
-- The summary of a filter key, or else that of the whole session. One that is older than the
-- session or has no text counts for nothing.
-- param app_name, user_id: session_summaries.app_name, session_summaries.user_id
-- param session_id, filter_key: session_summaries.session_id, session_summaries.filter_key
-- return filter_key, text, updated_at: text, text, timestamp
-- return summary: text
SELECT x.filter_key, x.summary ->> 'summary', x.updated_at, x.summary::text FROM (
    SELECT y.filter_key, y.summary, y.updated_at
    FROM {session_states s} JOIN {session_summaries y}
      ON y.app_name = s.app_name AND y.user_id = s.user_id AND y.session_id = s.session_id
    WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
      AND {live s} AND {live y} AND y.updated_at >= s.created_at
      AND y.filter_key IN (:filter_key, '') AND coalesce(y.summary ->> 'summary', '') <> ''
    ORDER BY y.filter_key = '' LIMIT 1
) AS x;

-- name: events_to_summarize :many
-- What a summary of `filter_key` does not cover yet. Kinds: 0 the summary that is there; 1 events
-- behind it that the key matches, oldest first, at most `limit` (NULL: all). Keys match when one is
-- the other's beginning up to a slash, or one is empty. No row of kind 1: nothing to do. 2, first of
-- all, the session: its creation, and in `body` the time now. No row at all: there is no such session.
-- param app_name, user_id: session_events.app_name, session_events.user_id
-- param session_id, filter_key: session_events.session_id, session_summaries.filter_key
-- param limit: int8?
-- return kind, id, at, body: int4, int8?, timestamp?, text?
WITH z AS MATERIALIZED (
    -- Times that the server can read: one that it cannot would fail the whole statement.
    SELECT '^(?!0000)([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])'
           '|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))'
           '|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)'
           'T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?'
           '(Z|[+-](0[0-9]|1[0-5]):[0-5][0-9])$' AS time
), s AS MATERIALIZED (
    SELECT s.id, s.created_at FROM {session_states s}
    WHERE s.app_name = :app_name AND s.user_id = :user_id AND s.session_id = :session_id
      AND {live s}
), b AS MATERIALIZED (
    SELECT y.id, y.updated_at, y.summary,
           nullif(y.summary #>> '{boundary,last_event_id}', '') AS last,
           CASE WHEN y.summary #>> '{boundary,cutoff_at}' ~ (SELECT z.time FROM z)
                THEN (y.summary #>> '{boundary,cutoff_at}')::timestamptz AT TIME ZONE 'UTC'
                ELSE y.updated_at END AS cutoff
    FROM {session_summaries y}
    WHERE y.app_name = :app_name AND y.user_id = :user_id AND y.session_id = :session_id
      AND y.filter_key = :filter_key AND {live y} AND y.updated_at >= (SELECT s.created_at FROM s)
), c AS MATERIALIZED (
    SELECT x.created_at, x.id FROM (
        /*?by find scan*/ SELECT e.created_at, e.id, e.app_name, e.user_id, e.deleted_at
        FROM {session_events e}
        WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
          AND {not_deleted e} AND e.event ->> 'id' = (SELECT b.last FROM b)
          AND EXISTS (SELECT FROM b WHERE b.last IS NOT NULL)
        ORDER BY e.created_at DESC LIMIT 1
        /*?or index: SELECT e.created_at, e.id, e.app_name, e.user_id, e.deleted_at
        FROM {session_events e}
        WHERE e.session_id = :session_id AND e.event ->> 'id' = (SELECT b.last FROM b)
          AND EXISTS (SELECT FROM b WHERE b.last IS NOT NULL)
        OFFSET 0 */ /*?end*/
    ) AS x WHERE x.app_name = :app_name AND x.user_id = :user_id AND x.deleted_at IS NULL
    ORDER BY x.created_at DESC, x.id DESC LIMIT 1
)
SELECT 2, s.id, s.created_at,
       to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM s
UNION ALL
SELECT 0, b.id, b.updated_at, b.summary::text FROM b
UNION ALL
SELECT 1, x.id, x.created_at, x.event::text FROM (
    SELECT z.id, z.created_at, z.event FROM (
        SELECT e.id, e.created_at, e.event FROM {session_events e}
        WHERE e.app_name = :app_name AND e.user_id = :user_id AND e.session_id = :session_id
          AND {not_deleted e} AND EXISTS (SELECT FROM s)
          AND e.created_at >= coalesce((SELECT c.created_at FROM c),
                                       (SELECT b.cutoff - interval '5 minutes' FROM b), '-infinity')
          AND CASE WHEN EXISTS (SELECT FROM c)
                   THEN (e.created_at, e.id) > (SELECT c.created_at, c.id FROM c)
                   WHEN EXISTS (SELECT FROM b)
                   THEN CASE WHEN e.event ->> 'timestamp' ~ (SELECT z.time FROM z)
                THEN (e.event ->> 'timestamp')::timestamptz AT TIME ZONE 'UTC'
                ELSE e.created_at END >= (SELECT b.cutoff FROM b)
                   ELSE true END
          AND (:filter_key = '' OR (
              SELECT k.key = '' OR starts_with(:filter_key || '/', k.key || '/')
                  OR starts_with(k.key || '/', :filter_key || '/')
              FROM (SELECT coalesce(e.event ->> CASE WHEN e.event ->> 'version' = '1'
                                                     THEN 'filterKey' ELSE 'branch' END, '')
                   ) AS k (key)))
        ORDER BY e.created_at FETCH FIRST (:limit) ROWS WITH TIES
    ) AS z ORDER BY z.created_at, z.id LIMIT :limit
) AS x;

-- ---- mending and counting ----

-- name: repair_events :maybe
-- Deletes events whose session is gone, as a peer's cleaner may leave them: of the next `sessions`
-- sessions that have any, behind the one named (empty: from the first). The row names the last one
-- looked at, for the next call; no row: that was all. Rows that others have locked are passed over.
-- param app_name, user_id: session_events.app_name, session_events.user_id
-- param session_id: session_events.session_id
-- param sessions: int8
-- return app_name, user_id: session_events.app_name, session_events.user_id
-- return session_id, deleted: session_events.session_id, int8
WITH RECURSIVE k (app_name, user_id, session_id, n) AS (
    (SELECT e.app_name, e.user_id, e.session_id, 1 FROM {session_events e}
     WHERE (e.app_name, e.user_id, e.session_id) > (:app_name, :user_id, :session_id)
     ORDER BY e.app_name, e.user_id, e.session_id LIMIT 1)
    UNION ALL
    SELECT x.app_name, x.user_id, x.session_id, k.n + 1
    FROM k CROSS JOIN LATERAL (
        SELECT e.app_name, e.user_id, e.session_id FROM {session_events e}
        WHERE (e.app_name, e.user_id, e.session_id) > (k.app_name, k.user_id, k.session_id)
        ORDER BY e.app_name, e.user_id, e.session_id LIMIT 1
    ) AS x
    WHERE k.n < :sessions
), o AS MATERIALIZED (
    SELECT k.app_name, k.user_id, k.session_id FROM k
    WHERE NOT EXISTS (
        SELECT FROM {session_states s}
        WHERE s.app_name = k.app_name AND s.user_id = k.user_id AND s.session_id = k.session_id
          AND {not_deleted s})
), l AS MATERIALIZED (
    SELECT e.id FROM o JOIN {session_events e}
      ON e.app_name = o.app_name AND e.user_id = o.user_id AND e.session_id = o.session_id
    WHERE {not_deleted e} FOR UPDATE OF e SKIP LOCKED
), d AS (
    UPDATE {session_events e} SET deleted_at = now() AT TIME ZONE 'UTC'
    FROM l WHERE e.id = l.id RETURNING e.id
)
SELECT z.app_name, z.user_id, z.session_id, (SELECT count(*) FROM d)
FROM (SELECT k.app_name, k.user_id, k.session_id FROM k ORDER BY k.n DESC LIMIT 1) AS z;

-- name: repair_tracks :maybe
-- The same for events of tracks.
-- param app_name, user_id: session_track_events.app_name, session_track_events.user_id
-- param session_id: session_track_events.session_id
-- param sessions: int8
-- return app_name, user_id: session_track_events.app_name, session_track_events.user_id
-- return session_id, deleted: session_track_events.session_id, int8
WITH RECURSIVE k (app_name, user_id, session_id, n) AS (
    (SELECT t.app_name, t.user_id, t.session_id, 1 FROM {session_track_events t}
     WHERE (t.app_name, t.user_id, t.session_id) > (:app_name, :user_id, :session_id)
     ORDER BY t.app_name, t.user_id, t.session_id LIMIT 1)
    UNION ALL
    SELECT x.app_name, x.user_id, x.session_id, k.n + 1
    FROM k CROSS JOIN LATERAL (
        SELECT t.app_name, t.user_id, t.session_id FROM {session_track_events t}
        WHERE (t.app_name, t.user_id, t.session_id) > (k.app_name, k.user_id, k.session_id)
        ORDER BY t.app_name, t.user_id, t.session_id LIMIT 1
    ) AS x
    WHERE k.n < :sessions
), o AS MATERIALIZED (
    SELECT k.app_name, k.user_id, k.session_id FROM k
    WHERE NOT EXISTS (
        SELECT FROM {session_states s}
        WHERE s.app_name = k.app_name AND s.user_id = k.user_id AND s.session_id = k.session_id
          AND {not_deleted s})
), l AS MATERIALIZED (
    SELECT t.id FROM o JOIN {session_track_events t}
      ON t.app_name = o.app_name AND t.user_id = o.user_id AND t.session_id = o.session_id
    WHERE {not_deleted t} FOR UPDATE OF t SKIP LOCKED
), d AS (
    UPDATE {session_track_events t} SET deleted_at = now() AT TIME ZONE 'UTC'
    FROM l WHERE t.id = l.id RETURNING t.id
)
SELECT z.app_name, z.user_id, z.session_id, (SELECT count(*) FROM d)
FROM (SELECT k.app_name, k.user_id, k.session_id FROM k ORDER BY k.n DESC LIMIT 1) AS z;

-- name: repair_summaries :maybe
-- The same for summaries.
-- param app_name, user_id: session_summaries.app_name, session_summaries.user_id
-- param session_id: session_summaries.session_id
-- param sessions: int8
-- return app_name, user_id: session_summaries.app_name, session_summaries.user_id
-- return session_id, deleted: session_summaries.session_id, int8
WITH RECURSIVE k (app_name, user_id, session_id, n) AS (
    (SELECT y.app_name, y.user_id, y.session_id, 1 FROM {session_summaries y}
     WHERE {not_deleted y}
       AND (y.app_name, y.user_id, y.session_id) > (:app_name, :user_id, :session_id)
     ORDER BY y.app_name, y.user_id, y.session_id LIMIT 1)
    UNION ALL
    SELECT x.app_name, x.user_id, x.session_id, k.n + 1
    FROM k CROSS JOIN LATERAL (
        SELECT y.app_name, y.user_id, y.session_id FROM {session_summaries y}
        WHERE {not_deleted y}
          AND (y.app_name, y.user_id, y.session_id) > (k.app_name, k.user_id, k.session_id)
        ORDER BY y.app_name, y.user_id, y.session_id LIMIT 1
    ) AS x
    WHERE k.n < :sessions
), o AS MATERIALIZED (
    SELECT k.app_name, k.user_id, k.session_id FROM k
    WHERE NOT EXISTS (
        SELECT FROM {session_states s}
        WHERE s.app_name = k.app_name AND s.user_id = k.user_id AND s.session_id = k.session_id
          AND {not_deleted s})
), l AS MATERIALIZED (
    SELECT y.id FROM o JOIN {session_summaries y}
      ON y.app_name = o.app_name AND y.user_id = o.user_id AND y.session_id = o.session_id
    WHERE {not_deleted y} FOR UPDATE OF y SKIP LOCKED
), d AS (
    UPDATE {session_summaries y} SET deleted_at = now() AT TIME ZONE 'UTC'
    FROM l WHERE y.id = l.id RETURNING y.id
)
SELECT z.app_name, z.user_id, z.session_id, (SELECT count(*) FROM d)
FROM (SELECT k.app_name, k.user_id, k.session_id FROM k ORDER BY k.n DESC LIMIT 1) AS z;

-- name: hard_repair_events :maybe
-- repair_events() for good.
-- param app_name, user_id: session_events.app_name, session_events.user_id
-- param session_id: session_events.session_id
-- param sessions: int8
-- return app_name, user_id: session_events.app_name, session_events.user_id
-- return session_id, deleted: session_events.session_id, int8
WITH RECURSIVE k (app_name, user_id, session_id, n) AS (
    (SELECT e.app_name, e.user_id, e.session_id, 1 FROM {session_events e}
     WHERE (e.app_name, e.user_id, e.session_id) > (:app_name, :user_id, :session_id)
     ORDER BY e.app_name, e.user_id, e.session_id LIMIT 1)
    UNION ALL
    SELECT x.app_name, x.user_id, x.session_id, k.n + 1
    FROM k CROSS JOIN LATERAL (
        SELECT e.app_name, e.user_id, e.session_id FROM {session_events e}
        WHERE (e.app_name, e.user_id, e.session_id) > (k.app_name, k.user_id, k.session_id)
        ORDER BY e.app_name, e.user_id, e.session_id LIMIT 1
    ) AS x
    WHERE k.n < :sessions
), o AS MATERIALIZED (
    SELECT k.app_name, k.user_id, k.session_id FROM k
    WHERE NOT EXISTS (
        SELECT FROM {session_states s}
        WHERE s.app_name = k.app_name AND s.user_id = k.user_id AND s.session_id = k.session_id
          AND {not_deleted s})
), l AS MATERIALIZED (
    SELECT e.id FROM o JOIN {session_events e}
      ON e.app_name = o.app_name AND e.user_id = o.user_id AND e.session_id = o.session_id
    WHERE {not_deleted e} FOR UPDATE OF e SKIP LOCKED
), d AS (
    DELETE FROM {session_events e} USING l WHERE e.id = l.id RETURNING e.id
)
SELECT z.app_name, z.user_id, z.session_id, (SELECT count(*) FROM d)
FROM (SELECT k.app_name, k.user_id, k.session_id FROM k ORDER BY k.n DESC LIMIT 1) AS z;

-- name: hard_repair_tracks :maybe
-- repair_tracks() for good.
-- param app_name, user_id: session_track_events.app_name, session_track_events.user_id
-- param session_id: session_track_events.session_id
-- param sessions: int8
-- return app_name, user_id: session_track_events.app_name, session_track_events.user_id
-- return session_id, deleted: session_track_events.session_id, int8
WITH RECURSIVE k (app_name, user_id, session_id, n) AS (
    (SELECT t.app_name, t.user_id, t.session_id, 1 FROM {session_track_events t}
     WHERE (t.app_name, t.user_id, t.session_id) > (:app_name, :user_id, :session_id)
     ORDER BY t.app_name, t.user_id, t.session_id LIMIT 1)
    UNION ALL
    SELECT x.app_name, x.user_id, x.session_id, k.n + 1
    FROM k CROSS JOIN LATERAL (
        SELECT t.app_name, t.user_id, t.session_id FROM {session_track_events t}
        WHERE (t.app_name, t.user_id, t.session_id) > (k.app_name, k.user_id, k.session_id)
        ORDER BY t.app_name, t.user_id, t.session_id LIMIT 1
    ) AS x
    WHERE k.n < :sessions
), o AS MATERIALIZED (
    SELECT k.app_name, k.user_id, k.session_id FROM k
    WHERE NOT EXISTS (
        SELECT FROM {session_states s}
        WHERE s.app_name = k.app_name AND s.user_id = k.user_id AND s.session_id = k.session_id
          AND {not_deleted s})
), l AS MATERIALIZED (
    SELECT t.id FROM o JOIN {session_track_events t}
      ON t.app_name = o.app_name AND t.user_id = o.user_id AND t.session_id = o.session_id
    WHERE {not_deleted t} FOR UPDATE OF t SKIP LOCKED
), d AS (
    DELETE FROM {session_track_events t} USING l WHERE t.id = l.id RETURNING t.id
)
SELECT z.app_name, z.user_id, z.session_id, (SELECT count(*) FROM d)
FROM (SELECT k.app_name, k.user_id, k.session_id FROM k ORDER BY k.n DESC LIMIT 1) AS z;

-- name: hard_repair_summaries :maybe
-- repair_summaries() for good.
-- param app_name, user_id: session_summaries.app_name, session_summaries.user_id
-- param session_id: session_summaries.session_id
-- param sessions: int8
-- return app_name, user_id: session_summaries.app_name, session_summaries.user_id
-- return session_id, deleted: session_summaries.session_id, int8
WITH RECURSIVE k (app_name, user_id, session_id, n) AS (
    (SELECT y.app_name, y.user_id, y.session_id, 1 FROM {session_summaries y}
     WHERE {not_deleted y}
       AND (y.app_name, y.user_id, y.session_id) > (:app_name, :user_id, :session_id)
     ORDER BY y.app_name, y.user_id, y.session_id LIMIT 1)
    UNION ALL
    SELECT x.app_name, x.user_id, x.session_id, k.n + 1
    FROM k CROSS JOIN LATERAL (
        SELECT y.app_name, y.user_id, y.session_id FROM {session_summaries y}
        WHERE {not_deleted y}
          AND (y.app_name, y.user_id, y.session_id) > (k.app_name, k.user_id, k.session_id)
        ORDER BY y.app_name, y.user_id, y.session_id LIMIT 1
    ) AS x
    WHERE k.n < :sessions
), o AS MATERIALIZED (
    SELECT k.app_name, k.user_id, k.session_id FROM k
    WHERE NOT EXISTS (
        SELECT FROM {session_states s}
        WHERE s.app_name = k.app_name AND s.user_id = k.user_id AND s.session_id = k.session_id
          AND {not_deleted s})
), l AS MATERIALIZED (
    SELECT y.id FROM o JOIN {session_summaries y}
      ON y.app_name = o.app_name AND y.user_id = o.user_id AND y.session_id = o.session_id
    WHERE {not_deleted y} FOR UPDATE OF y SKIP LOCKED
), d AS (
    DELETE FROM {session_summaries y} USING l WHERE y.id = l.id RETURNING y.id
)
SELECT z.app_name, z.user_id, z.session_id, (SELECT count(*) FROM d)
FROM (SELECT k.app_name, k.user_id, k.session_id FROM k ORDER BY k.n DESC LIMIT 1) AS z;


-- name: stats :one
-- How much an application has of everything. It reads all of that.
-- param app_name: session_states.app_name
-- return sessions, expired_sessions, deleted_sessions: int8, int8, int8
-- return events, deleted_events, tracks, deleted_tracks: int8, int8, int8, int8
-- return summaries, deleted_summaries: int8, int8
-- return app_states, user_states: int8, int8
SELECT s.live, s.expired, s.deleted, e.live, e.deleted, t.live, t.deleted, y.live, y.deleted,
       a.live, u.live
FROM (SELECT count(*) FILTER (WHERE {live s}) AS live,
             count(*) FILTER (WHERE {not_deleted s} AND NOT {live s}) AS expired,
             count(*) FILTER (WHERE s.deleted_at IS NOT NULL) AS deleted
      FROM {session_states s} WHERE s.app_name = :app_name) AS s,
     (SELECT count(*) FILTER (WHERE {not_deleted e}) AS live,
             count(*) FILTER (WHERE e.deleted_at IS NOT NULL) AS deleted
      FROM {session_events e} WHERE e.app_name = :app_name) AS e,
     (SELECT count(*) FILTER (WHERE {live t}) AS live,
             count(*) FILTER (WHERE t.deleted_at IS NOT NULL) AS deleted
      FROM {session_track_events t} WHERE t.app_name = :app_name) AS t,
     (SELECT count(*) FILTER (WHERE {live y}) AS live,
             count(*) FILTER (WHERE y.deleted_at IS NOT NULL) AS deleted
      FROM {session_summaries y} WHERE y.app_name = :app_name) AS y,
     (SELECT count(*) AS live FROM {app_states a}
      WHERE {live a} AND a.app_name = :app_name) AS a,
     (SELECT count(*) AS live FROM {user_states u}
      WHERE {live u} AND u.app_name = :app_name) AS u;
