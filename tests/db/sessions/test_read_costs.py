"""What reads cost in sessions of a hundred thousand events, under generic plans.

Costs are pages, which no machine's speed changes. Each trap that the statements avoid stands here
beside the plain form that falls into it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import cluster
import pytest
from stele.ddl_text import DdlOptions, optional_indexes
from storequery import Client, Queries, Value, pages

LAST_50_PAGES = 60
NONE = {"tracks": "none"}

# `big` is a plain session; in `nouser` the user spoke first and never again; of `cut` all but the
# oldest fifth was deleted softly. Around them are five thousand sessions of twenty events.
FILL = """
INSERT INTO session_states (app_name, user_id, session_id, state, created_at, updated_at)
SELECT 'a', 'u', s, '{}'::jsonb, timestamp '2026-01-01', timestamp '2026-01-02'
FROM unnest('{big,nouser,cut}'::text[]) AS s
UNION ALL
SELECT 'a', 'o' || i % 500, 's' || i, '{}', '2026-01-01', '2026-01-02'
FROM generate_series(1, 5000) AS i
UNION ALL
SELECT 'a', 'many', 's' || i, '{}', '2026-01-01', timestamp '2026-01-02' + i * interval '1 s'
FROM generate_series(1, 5000) AS i;
CREATE FUNCTION event_of(name text, i int, at timestamp, by_user bool) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('id', name || '-' || i, 'timestamp', to_jsonb(at AT TIME ZONE 'UTC'),
   'version', 1, 'choices', jsonb_build_array(jsonb_build_object('message', jsonb_build_object(
   'role', CASE WHEN by_user THEN 'user' ELSE 'assistant' END, 'content', repeat('words ', 100)))))
$$;
INSERT INTO session_events
    (app_name, user_id, session_id, event, created_at, updated_at, deleted_at)
SELECT 'a', 'u', s, event_of(s, i, at, i = 1 OR s <> 'nouser' AND i % 4 = 1), at, at,
       CASE WHEN s = 'cut' AND i > 20000 THEN at END
FROM unnest('{big,nouser,cut}'::text[]) AS s, generate_series(1, 100000) AS i,
     LATERAL (SELECT timestamp '2026-01-01' + i * interval '1 s') AS t (at);
INSERT INTO session_events (app_name, user_id, session_id, event, created_at, updated_at)
SELECT 'a', 'o' || k % 500, 's' || k, event_of('s' || k, i, at, i % 4 = 1), at, at
FROM generate_series(1, 5000) AS k, generate_series(1, 20) AS i,
     LATERAL (SELECT timestamp '2026-01-01' + i * interval '1 s') AS t (at);
INSERT INTO session_track_events (app_name, user_id, session_id, track, event, created_at)
SELECT 'a', 'u', 'big', 'track' || i % 3, '{}', timestamp '2026-01-01' + i * interval '1 s'
FROM generate_series(1, 30000) AS i;
"""


def of(name: str, **more: Value) -> dict[str, Value]:
    return {"app_name": "a", "user_id": "u", "session_id": name, **more}


@pytest.fixture(scope="module", params=["plain", "optional"])
def filled(request: pytest.FixtureRequest, server: str, queries: Queries) -> Iterator[Client]:
    """A client of a database with the usual indexes, then of one with the optional ones too."""
    name = f"costs_{os.getpid()}_{request.param}"
    url = urlsplit(server)._replace(path=f"/{name}").geturl()
    cluster.psql(server, f"CREATE DATABASE {name} TEMPLATE template0")
    wanted = optional_indexes(queries.module) if request.param == "optional" else ()
    client = Client(queries, url)
    client.sql(queries.ddl())
    client.sql(FILL)
    client.sql("SET client_min_messages = error")
    client.sql(queries.ddl(DdlOptions(if_not_exists=True, optional=frozenset(wanted))))
    client.sql("VACUUM ANALYZE")
    yield client
    client.close()
    cluster.psql(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def optional(filled: Client) -> bool:
    return filled.sql("SELECT to_regclass('idx_session_events_event_id')") != [(None,)]


def assert_cheap(
    client: Client, most: int, name: str, args: Mapping[str, Value], **chosen: str
) -> None:
    client.buffers(name, args, chosen)  # the catalog's pages count the first time
    found, plan = client.buffers(name, args, chosen)
    assert found <= most, plan


# ---- the end of a long session ----


@pytest.mark.parametrize("more", [{}, {"event_time": "2026-01-02T03:40:00"}], ids=["all", "since"])
def test_last_50_of_100000(filled: Client, more: dict[str, Value]) -> None:
    args = of("big", event_num=50, **more)
    assert_cheap(filled, LAST_50_PAGES, "get", args, **NONE)
    rows = filled.run("get", args, NONE)
    assert sum(row[0] == "4" for row in rows) == 48  # from the first message of the user on
    args |= {"track_time": "-infinity", "track_num": 5}
    assert_cheap(filled, LAST_50_PAGES, "get", args, tracks="last")
    assert sum(row[0] == "6" for row in filled.run("get", args, {"tracks": "last"})) == 15
    named: dict[str, Value] = {**args, "track_names": ["track1", "other"]}
    assert_cheap(filled, LAST_50_PAGES, "get", named, tracks="named")


def test_the_plan_does_not_depend_on_when_it_was_made(server: str, queries: Queries) -> None:
    """A statement that was prepared on empty tables stays cheap when they are full."""
    name = f"early_{os.getpid()}"
    url = urlsplit(server)._replace(path=f"/{name}").geturl()
    cluster.psql(server, f"CREATE DATABASE {name} TEMPLATE template0")
    client = Client(queries, url)
    client.sql(queries.ddl())
    client.sql("SET plan_cache_mode = force_generic_plan")
    args = of("s", event_num=50)
    client.run("create", {**of("s"), "state": "{}", "ttl": None})
    client.run("get", args, NONE)
    client.sql(
        "INSERT INTO session_events (app_name, user_id, session_id, event, created_at)"
        """ SELECT 'a', 'u', 's', '{"choices": [{"message": {"role": "user"}}]}',"""
        " timestamp '2026-01-01' + i * interval '1 s' FROM generate_series(1, 20000) AS i"
    )
    assert_cheap(client, LAST_50_PAGES, "get", args, **NONE)
    client.close()
    cluster.psql(server, f"DROP DATABASE {name} WITH (FORCE)")


def test_a_user_who_spoke_long_ago(filled: Client, optional: bool) -> None:
    args = of("nouser", event_num=50)
    assert [row[0] for row in filled.run("get", args, NONE)] == ["0", "3", *["4"] * 50]
    if optional:
        assert_cheap(filled, LAST_50_PAGES, "get", args, **NONE)
    else:
        assert filled.buffers("get", args, NONE)[0] > 5000  # what session_events.user_message saves


def test_a_session_that_was_cut_off(filled: Client, optional: bool) -> None:
    args = of("cut", event_num=50)
    assert sum(row[0] == "4" for row in filled.run("get", args, NONE)) == 48
    if optional:
        assert_cheap(filled, LAST_50_PAGES, "get", args, **NONE)
    else:
        assert filled.buffers("get", args, NONE)[0] > 5000  # what session_events.undeleted saves


def test_pages(filled: Client) -> None:
    args = of("big", since="-infinity", offset=0, limit=50)
    assert_cheap(filled, LAST_50_PAGES, "get_page", args, **NONE)
    deep: dict[str, Value] = {**args, "before": "2026-01-01T13:00:00", "before_id": 46800}
    assert_cheap(filled, LAST_50_PAGES, "get_page", deep, **NONE)
    rows = [row for row in filled.run("get_page", deep, NONE) if row[0] == "4"]
    assert len(rows) == 50 and rows[-1][3] == "2026-01-01 12:59:59"
    # What a cursor saves: an offset walks all that it passes over.
    assert filled.buffers("get_page", {**args, "offset": 50000}, NONE)[0] > 2000


# ---- one event and what is around it ----


def test_windows_and_boundaries(filled: Client, optional: bool) -> None:
    around: dict[str, Value] = {"roles": ["user", "assistant"], "before": 10, "after": 10}
    args = of("big", event_id="big-50000", **around)
    assert len(filled.run("get_window", args)) == 21
    if not optional:
        assert filled.buffers("get_window", args)[0] > 2000
        return
    assert_cheap(filled, LAST_50_PAGES, "get_window", args, find="index")
    assert filled.run("get_window", args, {"find": "index"}) == filled.run("get_window", args)
    append: dict[str, Value] = {"event": "{}", "delta": "{}", "ttl": None, "ttl_slack": "0"}
    filled.sql("BEGIN")
    filled.run("lock_session", of("big"))
    assert_cheap(filled, LAST_50_PAGES, "append_event", of("big", event_id="new", **append))
    filled.sql("ROLLBACK")
    cut: dict[str, Value] = {"ttl": None, "ttl_slack": "0", "event_id": "big-50000"}
    filled.sql("BEGIN")
    assert_cheap(filled, LAST_50_PAGES, "truncate_session", of("big", **cut), find="index")
    filled.sql("ROLLBACK")


def test_a_summary_reads_what_is_behind_its_boundary(filled: Client) -> None:
    """Also without the index: the boundary is near, and is looked for from the end."""
    summary = (
        '{"summary": "s", "boundary": {"cutoff_at": "2026-01-02T03:46:00Z",'
        ' "last_event_id": "big-99960"}}'
    )
    put = of("big", filter_key="", summary=summary, cutoff="2026-01-02T03:46:00")
    assert filled.run("put_summary", put)[0][0] == "1"
    args = of("big", filter_key="", limit=None)
    assert sum(row[0] == "1" for row in filled.run("events_to_summarize", args)) == 40
    assert_cheap(filled, LAST_50_PAGES, "events_to_summarize", args)
    filled.sql("DELETE FROM session_summaries")
    assert_cheap(filled, LAST_50_PAGES, "events_to_summarize", {**args, "limit": 20})


# ---- lists ----


def test_lists(filled: Client, optional: bool) -> None:
    user: dict[str, Value] = {"app_name": "a", "limit": 20, "offset": 0}
    assert_cheap(filled, 400, "list", {**user, "user_id": "o7", "event_num": 20}, **NONE)
    many: dict[str, Value] = {**user, "user_id": "many"}
    if optional:
        assert_cheap(filled, LAST_50_PAGES, "list_meta", many)
    else:
        assert filled.buffers("list_meta", many)[0] > 400  # what session_states.recent saves
    before: dict[str, Value] = {"before": "2026-01-02 00:30:00", "before_id": "s9999"}
    rows = filled.run("list_meta", {**many, **before})
    assert [row[1] for row in rows] == [f"s{i}" for i in range(1800, 1780, -1)]


def test_repairing_steps_over_whole_sessions(filled: Client) -> None:
    """A session of a hundred thousand events costs no more than one of twenty."""
    args: dict[str, Value] = {"app_name": "a", "user_id": "s", "session_id": "", "sessions": 3}
    assert_cheap(filled, LAST_50_PAGES, "repair_events", args)
    assert filled.run("repair_events", args) == [("a", "u", "nouser", "0")]


# ---- the traps ----


def test_trap_a_generic_plan_sorts_by_what_the_index_lacks(filled: Client, optional: bool) -> None:
    """ORDER BY created_at, id LIMIT $n reads a whole session where the index lacks the id."""
    if optional:
        return  # there is an index that has the id
    filled.sql(
        "PREPARE plain_last (text, text, text, int8) AS SELECT event FROM session_events"
        " WHERE app_name = $1 AND user_id = $2 AND session_id = $3 AND deleted_at IS NULL"
        " ORDER BY created_at DESC, id DESC LIMIT $4"
    )
    plan = explain(filled, "EXECUTE plain_last ('a', 'u', 'big', 50)")
    assert pages(plan) > 2000 or "Incremental Sort" in plan  # newer servers may choose that
    filled.sql("DEALLOCATE plain_last")


def test_trap_of_two_indexes_the_wrong_one(filled: Client, optional: bool) -> None:
    """With the session's key and the event's id in one condition, it may read the session."""
    if not optional:
        return
    filled.sql(
        "PREPARE plain_anchor (text, text, text, text) AS SELECT id FROM session_events"
        " WHERE app_name = $1 AND user_id = $2 AND session_id = $3 AND event ->> 'id' = $4"
        " AND deleted_at IS NULL ORDER BY created_at, id LIMIT 1"
    )
    both = [
        pages(explain(filled, f"EXECUTE plain_anchor ('a', 'u', 'big', '{name}')"))
        for name in ("big-99999", "unknown")
    ]
    filled.sql("DEALLOCATE plain_anchor")
    assert max(both) > 2000


def explain(client: Client, text: str) -> str:
    rows = client.sql(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {text}")
    return "\n".join(itertools.chain.from_iterable((row[0] or "",) for row in rows))
