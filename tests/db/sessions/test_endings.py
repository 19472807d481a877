"""Deleting, restoring, cutting off, summarizing and mending sessions."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from sessionops import (
    KEY,
    NO_TTL,
    append,
    count,
    create,
    delete,
    expire,
    full,
    ids,
    in_one,
    message,
    state,
    summarize,
    track,
)
from storequery import Client, Value

# ---- deleting and restoring ----


def test_deleting_takes_everything_along(client: Client) -> None:
    full(client)
    delete(client)
    assert count(client) == [0, 0, 0] and count(client, "true") == [1, 1, 1]
    full(client)
    delete(client, hard=True)
    assert count(client, "true") == [0, 0, 0]
    assert client.sql("SELECT FROM session_states") == []
    delete(client)  # what is not there


def test_what_was_deleted_is_restored(client: Client) -> None:
    full(client)
    append(client, "cut")
    client.sql("UPDATE session_events SET deleted_at = now() WHERE event ->> 'id' = 'cut'")
    delete(client)
    full(client)
    append(client, "e2")
    delete(client)
    args: dict[str, Value] = {**KEY, "ttl": "1 hour"}
    assert client.run("restore_session", args)[0][1:] == ("2", "1", "1")
    assert ids(client) == ["e1", "e2"] and state(client)["id"] == "s"
    assert client.run("restore_session", args) == []  # there is one that lives
    delete(client, hard=True)
    assert client.run("restore_session", args) == []


def test_control_statements_of_one_transaction_share_a_time(client: Client) -> None:
    """Each statement's own time would tell a session's deletion from that of its events."""
    client.sql("BEGIN")
    first, second = (client.sql("SELECT now(), statement_timestamp()")[0] for _ in range(2))
    client.sql("COMMIT")
    assert first[0] == second[0] and first[1] != second[1]


# ---- cutting off ----


def cut(client: Client, event: str, how: str, hard: bool = False, find: str = "scan") -> str:
    args: dict[str, Value] = {**KEY, "event_id": event}
    chosen = {"cut": how, "find": find}
    prefix = "hard_" if hard else ""
    calls = [
        ("truncate_session", {**args, **NO_TTL}, chosen),
        (f"{prefix}truncate_summaries", args, chosen),
        (f"{prefix}truncate_events", args, chosen),
    ]
    answer = in_one(client, calls)[0]
    return answer[0][0] or "" if answer else "none"


def boundary(last: str = "", cutoff: str = "") -> str:
    return json.dumps({"summary": "x", "boundary": {"last_event_id": last, "cutoff_at": cutoff}})


@pytest.mark.parametrize("find", ["scan", "index"])
@pytest.mark.parametrize("hard", [False, True])
def test_a_session_is_cut_off(client: Client, hard: bool, find: str) -> None:
    create(client)
    client.sql("UPDATE session_states SET created_at = '2026-01-01'")
    for i in range(5):
        append(client, f"e{i}", event=message(f"e{i}", timestamp=f"2026-01-02T00:00:0{i}Z"))
    summaries = {
        "kept": (boundary("e1"), "2026-01-02T00:00:04"),
        "last": (boundary("e3"), "2026-01-02T00:00:00"),
        "early": (boundary(), "2026-01-02T00:00:02"),
        "late": (boundary(), "2026-01-02T00:00:03"),
    }
    for key, (text, cutoff) in summaries.items():
        assert summarize(client, key, summary=text, cutoff=cutoff) == "1"

    def left() -> list[str]:
        rows = client.sql(
            "SELECT filter_key FROM session_summaries WHERE deleted_at IS NULL ORDER BY 1"
        )
        return [row[0] or "" for row in rows]

    assert cut(client, "unknown", "after", hard, find) == "2" and len(ids(client)) == 5
    assert cut(client, "e2", "after", hard, find) == "1"
    assert ids(client) == ["e0", "e1", "e2"] and left() == ["early", "kept"]
    assert cut(client, "e2", "from", hard, find) == "1"
    assert ids(client) == ["e0", "e1"] and left() == ["kept"]
    append(client, "e2")
    assert ids(client) == ["e0", "e1", "e2"]
    assert cut(client, "", "all", hard, find) == "1"
    assert ids(client) == [] and left() == []
    assert (count(client, "true")[0] == 0) == hard
    delete(client)
    assert cut(client, "", "all", hard, find) == "none"


# ---- summaries ----


def test_a_stale_summary_is_refused(client: Client) -> None:
    assert summarize(client) == "none"
    create(client)
    assert summarize(client, cutoff="2999-01-02") == "1"
    assert summarize(client, cutoff="2999-01-01") == "2"
    assert summarize(client, cutoff="2999-01-02", summary='{"summary": "new"}') == "1"
    found = client.run("get_summary", {**KEY, "filter_key": "any"})
    assert found[0][:3] == ("", "new", "2999-01-02 00:00:00")
    append(client, "e1")
    ((row_id,),) = client.sql("SELECT id FROM session_events")
    assert summarize(client, "k", last_row=row_id) == "1"
    client.sql("UPDATE session_events SET deleted_at = now()")
    assert summarize(client, "k", last_row=row_id) == "3"
    assert summarize(client, "k", last_row="999999") == "3"


def test_a_summary_with_a_time_of_long_ago_is_seen(client: Client) -> None:
    """A client's clock, or an event without a time, may say that it is older than the session."""
    create(client)
    summarize(client, cutoff="0001-01-01")
    assert client.run("get_summary", {**KEY, "filter_key": ""})[0][1] == "text"
    ((same,),) = client.sql(
        "SELECT y.updated_at = s.created_at FROM session_summaries y, session_states s"
    )
    assert same == "t"


def test_which_summary_is_read(client: Client) -> None:
    create(client)
    summarize(client, "", summary='{"summary": "all"}')
    summarize(client, "a/b", summary='{"summary": "part"}')
    summarize(client, "empty", summary='{"summary": ""}')
    for key, wanted in (("a/b", "part"), ("a", "all"), ("empty", "all"), ("", "all")):
        assert client.run("get_summary", {**KEY, "filter_key": key})[0][1] == wanted
    client.sql("UPDATE session_summaries SET updated_at = '2000-01-01'")  # of a former session
    assert client.run("get_summary", {**KEY, "filter_key": ""}) == []
    rows = client.run("get", {**KEY, "event_num": None}, {"tracks": "none"})
    assert [row[0] for row in rows] == ["0"]


@pytest.mark.parametrize("find", ["scan", "index"])
def test_what_is_left_to_summarize(client: Client, find: str) -> None:
    def left(key: str = "", limit: Value = None) -> list[str]:
        args = {**KEY, "filter_key": key, "limit": limit}
        rows = client.run("events_to_summarize", args, {"find": find})
        return [json.loads(row[3] or "")["id"] for row in rows if row[0] == "1"]

    assert left() == []
    create(client)
    keys = {"all": "", "ab": "a/b", "abc": "a/b/c", "a": "a", "ax": "ax", "b": "b"}
    for i, (name, key) in enumerate(keys.items()):
        text = message(name, filterKey=key, timestamp=f"2026-01-01T00:00:0{i}Z")
        append(client, name, event=text)
    append(client, "old", event=message("old", filterKey="b", branch="a/b", version=0))
    assert left() == [*keys, "old"] and left(limit=2) == ["all", "ab"]
    assert left("a/b") == ["all", "ab", "abc", "a", "old"]
    assert left("a") == ["all", "ab", "abc", "a", "old"] and left("a/b/c/d")[-2:] == ["a", "old"]
    summarize(client, "a", summary=boundary("abc", "2026-01-01T00:00:02Z"))
    assert left("a") == ["a", "old"] and len(left()) == 7
    # Without the event the time decides, of which nobody knows how exact it is: it is inclusive.
    client.sql("UPDATE session_events SET created_at = (event ->> 'timestamp')::timestamptz")
    summarize(client, "a", summary=boundary("gone", "2026-01-01T00:00:02Z"))
    assert left("a") == ["abc", "a"]


# ---- mending and counting ----


@pytest.mark.parametrize("hard", [False, True])
def test_what_a_cleaner_left_is_mended(client: Client, hard: bool) -> None:
    for i in range(5):
        name = f"s{i}"
        create(client, session_id=name)
        append(client, "e", session_id=name)
        track(client, "t", session_id=name)
        summarize(client, session_id=name)
    expire(client)  # such sessions are still there
    client.sql("UPDATE session_states SET deleted_at = now() WHERE session_id IN ('s1', 's3')")
    client.sql("DELETE FROM session_states WHERE session_id = 's4'")
    for what in ("events", "tracks", "summaries"):
        at: dict[str, Value] = {"app_name": "", "user_id": "", "session_id": ""}
        found = []
        while rows := client.run(f"{'hard_' if hard else ''}repair_{what}", {**at, "sessions": 2}):
            at = dict(zip(at, rows[0][:3], strict=True))
            found.append((rows[0][2], rows[0][3]))
        assert found == [("s1", "1"), ("s3", "1"), ("s4", "1")]
    assert count(client) == [2, 2, 2]
    assert count(client, "true") == ([2, 2, 2] if hard else [5, 5, 5])


def test_repairing_passes_over_what_others_hold(connect: Callable[[], Client]) -> None:
    one, two = connect(), connect()
    full(one)
    append(one, "e2")
    one.sql("UPDATE session_states SET deleted_at = now()")
    two.sql("BEGIN")
    two.sql("SELECT FROM session_events WHERE event ->> 'id' = 'e1' FOR UPDATE")
    args: dict[str, Value] = {"app_name": "", "user_id": "", "session_id": "", "sessions": 9}
    assert one.run("repair_events", args) == [("app", "user", "s", "1")]
    two.sql("ROLLBACK")
    assert one.run("repair_events", args) == [("app", "user", "s", "1")]


def test_counts(client: Client) -> None:
    full(client)
    append(client, "e2")
    client.run("put_app_states", {"app_name": "app", "keys": ["a"], "values": ["1"], "ttl": None})
    create(client, session_id="gone", ttl="-1 s")
    assert client.run("stats", {"app_name": "app"}) == [
        ("1", "1", "0", "2", "0", "1", "0", "1", "0", "1", "0")
    ]
    delete(client)
    assert client.run("stats", {"app_name": "app"}) == [
        ("0", "1", "1", "0", "2", "0", "1", "0", "1", "1", "0")
    ]
    assert set(client.run("stats", {"app_name": "other"})[0]) == {"0"}
