"""What the statements that change sessions leave behind, one client at a time."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from stele.libpq import Row, ServerError
from storequery import Client, Value, quoted

KEY: dict[str, Value] = {"app_name": "app", "user_id": "user", "session_id": "s"}
NO_TTL: dict[str, Value] = {"ttl": None, "ttl_slack": "0"}
SWEEP = ("clear_former_events", "clear_former_tracks", "clear_former_summaries")
CHILDREN = ("session_events", "session_track_events", "session_summaries")
DELETE = (
    *("delete_session", "delete_session_events"),
    *("delete_session_tracks", "delete_session_summaries"),
)


def message(name: str, role: str = "user", text: str = "hello", **more: object) -> str:
    choice = {"message": {"role": role, "content": text}}
    event = {"id": name, "timestamp": "2026-01-01T00:00:00Z", "choices": [choice], "version": 1}
    return json.dumps(event | more)


def create(client: Client, hard: bool = False, **more: Value) -> bool:
    """The whole pipeline, as one transaction."""
    client.sql("BEGIN")
    made = client.run("create", {**KEY, "state": "{}", "ttl": None, **more})
    key = {name: more.get(name, KEY[name]) for name in KEY}
    for name in SWEEP:
        client.run(f"hard_{name}" if hard else name, key)
    client.sql("COMMIT")
    return bool(made)


def append(client: Client, name: str, delta: str = "{}", **more: Value) -> str:
    args: dict[str, Value] = {**KEY, **NO_TTL, "event": message(name), "delta": delta, **more}
    rows = client.run("append_event", args)
    return rows[0][0] or "" if rows else "none"


def track(client: Client, name: str, **more: Value) -> str:
    args: dict[str, Value] = {"track": name, "event": "{}", "at": None, "track_ttl": None}
    rows = client.run("append_track_event", {**KEY, **args, **NO_TTL, **more})
    return rows[0][0] or "" if rows else "none"


def summarize(client: Client, key: str = "", **more: Value) -> str:
    args: dict[str, Value] = {"filter_key": key, "summary": '{"summary": "text"}'}
    rows = client.run("put_summary", {**KEY, **args, "cutoff": "2999-01-01", **more})
    return rows[0][0] or "" if rows else "none"


def state(client: Client) -> Any:
    ((text,),) = client.sql("SELECT state FROM session_states WHERE deleted_at IS NULL")
    return json.loads(text or "null")


def count(client: Client, condition: str = "deleted_at IS NULL") -> list[int]:
    """Rows of the session's children that meet a condition."""
    found = [client.sql(f"SELECT count(*) FROM {one} WHERE {condition}") for one in CHILDREN]
    return [int(rows[0][0] or 0) for rows in found]


def ids(client: Client) -> list[str]:
    rows = client.sql(
        "SELECT event ->> 'id' FROM session_events WHERE deleted_at IS NULL ORDER BY created_at, id"
    )
    return [row[0] or "" for row in rows]


def expire(client: Client) -> None:
    client.sql("UPDATE session_states SET expires_at = timezone('UTC', now()) - interval '1 s'")


def in_one(
    client: Client, calls: Sequence[tuple[str, dict[str, Value], dict[str, str]]]
) -> list[list[Row]]:
    """A pipeline: the answers of the statements of one transaction."""
    client.sql("BEGIN")
    answers = [client.run(*call) for call in calls]
    client.sql("COMMIT")
    return answers


# ---- creating ----


def test_a_live_session_is_not_created_again(client: Client) -> None:
    assert create(client, ttl="1 hour")
    assert append(client, "e1", ttl="1 hour") == "1" and track(client, "t") == "1"
    assert summarize(client) == "1"
    assert not create(client, state='{"a": "AA=="}')
    assert ids(client) == ["e1"] and count(client) == [1, 1, 1]
    assert state(client)["state"].keys() == {"tracks"}


@pytest.mark.parametrize("hard", [False, True])
def test_an_expired_session_is_created_anew_and_shows_nothing_of_before(
    client: Client, hard: bool
) -> None:
    create(client)
    append(client, "e1")
    track(client, "t")
    summarize(client)
    expire(client)
    assert client.run("get", {**KEY, "event_num": None}, {"tracks": "none"}) == []
    assert create(client, hard, state='{"a": "AA=="}')
    assert state(client)["state"] == {"a": "AA=="} and state(client)["id"] == "s"
    assert count(client) == [0, 0, 0]
    assert count(client, "true") == ([0, 0, 0] if hard else [1, 1, 1])
    args: dict[str, Value] = {**KEY, "event_num": None, "track_time": "-infinity"}
    assert [row[0] for row in client.run("get", args)] == ["0"]


def test_the_envelope_has_what_a_peer_reads(client: Client) -> None:
    create(client, state='{"k": "dg==", "n": null}')
    envelope = state(client)
    assert envelope.keys() == {"id", "state", "createdAt", "updatedAt"}
    assert envelope["createdAt"].endswith("+00:00")
    ((same,),) = client.sql(
        "SELECT (state ->> 'createdAt')::timestamptz = created_at AT TIME ZONE 'UTC'"
        " AND updated_at = created_at FROM session_states"
    )
    assert same == "t"


def test_keys_that_are_too_long_are_refused_not_cut(client: Client) -> None:
    for name in ("app_name", "user_id", "session_id"):
        with pytest.raises(ServerError) as refused:
            client.run("create", {**KEY, name: "k" * 256, "state": "{}", "ttl": None})
        assert refused.value.sqlstate == "22001"
    assert create(client, session_id="k" * 255)
    with pytest.raises(ServerError) as refused:
        args: dict[str, Value] = {"app_name": "a", "keys": ["k" * 256], "values": ["v"]}
        client.run("put_app_states", {**args, "ttl": None})
    assert refused.value.sqlstate == "22001"


# ---- state ----


def update(client: Client, delta: str = "{}", removed: Sequence[str] = (), **more: Value) -> str:
    args: dict[str, Value] = {**KEY, **NO_TTL, "delta": delta, "removed": list(removed), **more}
    rows = client.run("update_state", args)
    return rows[0][0] or "" if rows else "none"


def test_state_is_merged_and_keys_removed(client: Client) -> None:
    assert update(client) == "none"
    create(client, state='{"a": "1", "b": "2"}')
    assert update(client, '{"b": null, "c": "3"}', ["a", "nothing"]) == "1"
    assert state(client)["state"] == {"b": None, "c": "3"}
    before = state(client)
    assert update(client) == "1"
    assert state(client) == before  # an empty change does not write the document again
    client.sql("UPDATE session_states SET deleted_at = now()")
    assert update(client, '{"x": "y"}') == "none" and append(client, "e") == "none"


@pytest.mark.parametrize("stored", ["NULL", "'null'", "'{}'", '\'{"state": null, "other": 1}\''])
def test_a_missing_envelope_is_made(client: Client, stored: str) -> None:
    create(client)
    client.sql(f"UPDATE session_states SET state = {stored}")
    assert update(client, '{"a": "1"}') == "1" and append(client, "e", '{"b": "2"}') == "1"
    assert track(client, "t") == "1"
    found = state(client)
    assert found["state"].keys() == {"a", "b", "tracks"} and "updatedAt" in found
    assert ("other" in found) == ("other" in stored)
    assert ("id" in found) == ("other" not in stored and stored != "'{}'")


@pytest.mark.parametrize("text", ["[]", "7", "true", '{"state": []}', '{"state": 1}'])
def test_what_is_no_object_is_told_and_left(client: Client, text: str) -> None:
    create(client)
    stored = quoted(text)
    client.sql(f"UPDATE session_states SET state = {stored}")
    assert update(client, '{"a": "1"}') == "2"
    assert append(client, "e", '{"a": "1"}') == "2" and track(client, "t") == "2"
    args: dict[str, Value] = {**group("s"), "deltas": ["{}"], "places": [1], "events": ["{}"]}
    assert client.run("append_group", args) == [("1", "2", "0", None)]
    assert client.sql(f"SELECT state = {stored} FROM session_states") == [("t",)]
    assert count(client) == [0, 0, 0]


def test_control_a_plain_merge_makes_an_array_of_null(client: Client) -> None:
    assert client.sql("SELECT 'null'::jsonb || '{\"a\": 1}'") == [('[null, {"a": 1}]',)]


@pytest.mark.parametrize("call", ["update_state", "append_event", "append_track_event"])
def test_time_to_live_is_renewed_exactly_or_lazily(client: Client, call: str) -> None:
    def left() -> float:
        ((text,),) = client.sql(
            "SELECT extract(epoch FROM expires_at - timezone('UTC', clock_timestamp()))"
            " FROM session_states"
        )
        return float(text or "inf")

    def touch(ttl: Value, slack: str = "0") -> None:
        more: dict[str, dict[str, Value]] = {
            "update_state": {"delta": "{}", "removed": []},
            "append_event": {"delta": "{}", "event": "{}"},
            "append_track_event": {"track": "t", "event": "{}", "at": None, "track_ttl": None},
        }
        args = {**KEY, **more[call], "ttl": ttl, "ttl_slack": slack}
        assert client.run(call, args)[0][0] == "1"

    create(client, ttl="1600 s")
    client.sql("UPDATE session_states SET expires_at = expires_at - interval '90 s'")
    kept = client.sql("SELECT expires_at FROM session_states")
    touch("1600 s", "100 s")
    assert client.sql("SELECT expires_at FROM session_states") == kept
    touch("1600 s")
    assert 1590 < left() <= 1600
    client.sql("UPDATE session_states SET expires_at = expires_at - interval '110 s'")
    touch("1600 s", "100 s")
    assert 1590 < left() <= 1600
    touch("10 s", "1 s")  # a shorter time holds at once
    assert left() <= 10
    touch(None)
    assert client.sql("SELECT expires_at FROM session_states") == [(None,)]
    touch("1600 s", "100 s")
    assert 1590 < left() <= 1600
    expire(client)
    touch("1600 s", "100 s")  # one that has expired lives again
    assert 1590 < left() <= 1600


def test_lazy_renewal_keeps_updates_hot(client: Client) -> None:
    """An index on expires_at makes each renewal write to every index of the row."""

    def hot(ttl: str, slack: str) -> float:
        client.sql("SELECT pg_stat_reset_single_table_counters('session_states'::regclass)")
        for i in range(200):
            update(client, f'{{"k": "{i}"}}', ttl=ttl, ttl_slack=slack)
        client.sql("SELECT pg_stat_force_next_flush()")
        ((all_of, hot_ones),) = client.sql(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
            " WHERE relname = 'session_states'"
        )
        assert int(all_of or 0) == 200
        return int(hot_ones or 0) / 200

    ((recent,),) = client.sql("SELECT pg_get_indexdef('idx_session_states_recent'::regclass)")
    client.sql("DROP INDEX idx_session_states_recent")  # it makes no update hot
    create(client, ttl="1 hour")
    lazy, exact = hot("1 hour", "225 s"), hot("1 hour", "0")
    client.sql(recent or "")
    assert lazy > 0.9 and exact < 0.1


# ---- events ----


def test_events_stand_in_the_order_in_which_they_came(client: Client) -> None:
    """Also when the session was changed by one whose clock is ahead."""
    create(client)
    append(client, "e1")
    client.sql("UPDATE session_states SET updated_at = updated_at + interval '1 day'")
    for name in ("e2", "e3"):
        append(client, name)
    assert ids(client) == ["e1", "e2", "e3"]
    ((same,),) = client.sql(
        "SELECT max(e.created_at) = max(s.updated_at) FROM session_events e, session_states s"
    )
    assert same == "t"


def test_an_event_is_stored_once(client: Client) -> None:
    create(client)
    create(client, session_id="other")
    for name, wanted in (("e1", "1"), ("e1", "3"), ("e2", "1"), ("e1", "3")):
        assert append(client, name, event_id=name) == wanted
    other: dict[str, Value] = {**KEY, **NO_TTL, "event": message("e1"), "delta": "{}"}
    other["session_id"] = "other"
    assert client.run("append_event", {**other, "event_id": "e1"})[0][0] == "1"
    assert ids(client) == ["e1", "e2", "e1"]
    client.sql("UPDATE session_events SET deleted_at = now() WHERE event ->> 'id' = 'e1'")
    assert append(client, "e1", event_id="e1") == "1"  # one that was cut off may come again
    client.sql("UPDATE session_states SET deleted_at = now()")
    assert append(client, "e2", event_id="e2") == "none"


def group(*names: str) -> dict[str, Value]:
    count = len(names)
    owners: dict[str, Value] = {"app_names": ["app"] * count, "user_ids": ["user"] * count}
    return {**owners, **NO_TTL, "session_ids": list(names)}


def test_a_group(client: Client) -> None:
    create(client, state='{"a": "1"}')
    create(client, session_id="two")
    args: dict[str, Value] = {
        **group("s", "no", "two"),
        "deltas": ['{"b": "2"}', '{"x": "y"}', "{}"],
        "places": [1, 3, 1, 2, 1],
        "events": [message(f"e{i}") for i in range(5)],
    }
    rows = client.run("append_group", args)
    assert [row[:3] for row in rows] == [("1", "1", "3"), ("2", "0", "0"), ("3", "1", "1")]
    found = client.sql("SELECT session_id, event ->> 'id' FROM session_events ORDER BY id")
    assert found == [("s", "e0"), ("two", "e1"), ("s", "e2"), ("s", "e4")]
    ((apart, last),) = client.sql(
        "SELECT array_agg(at), bool_or(last) FROM (SELECT e.created_at = s.updated_at AS last,"
        " e.created_at - lag(e.created_at) OVER (ORDER BY e.id) AS at FROM session_events e"
        " JOIN session_states s USING (session_id) WHERE session_id = 's') x"
    )
    assert apart == "{NULL,00:00:00.000001,00:00:00.000001}" and last == "t"
    ((merged,),) = client.sql("SELECT state -> 'state' FROM session_states WHERE session_id = 's'")
    assert json.loads(merged or "") == {"a": "1", "b": "2"}
    # Once more: what is there, and what comes twice, is left out.
    args["events"] = [message(name) for name in ("e0", "e9", "e9", "e3", "e4")]
    rows = client.run("append_group", args, {"once": "yes"})
    assert [row[:3] for row in rows] == [("1", "1", "1"), ("2", "0", "0"), ("3", "1", "1")]
    assert len(client.sql("SELECT FROM session_events")) == 6


def test_a_group_of_state_alone(client: Client) -> None:
    create(client)
    args: dict[str, Value] = {
        **group("s"),
        "deltas": ['{"b": "2"}'],
        "places": [],
        "events": [],
    }
    assert client.run("append_group", args)[0][:3] == ("1", "1", "0")
    assert state(client)["state"] == {"b": "2"}


# ---- tracks ----


def tracks(client: Client) -> Any:
    return json.loads(base64.b64decode(state(client)["state"]["tracks"]))


def test_tracks_are_registered(client: Client) -> None:
    create(client)
    names = [f"a name so long that base64 breaks its lines {i}" for i in range(4)]
    for name in [*names, names[0], 'q"uote', "ünïcode"]:
        assert track(client, name) == "1"
    assert tracks(client) == [*names, 'q"uote', "ünïcode"]
    assert "\n" not in state(client)["state"]["tracks"]
    times = {"at": "2026-01-01", "track_ttl": "1 hour"}
    assert track(client, "late", **times) == "1"
    ((at, left),) = client.sql(
        "SELECT created_at, expires_at > timezone('UTC', now()) FROM session_track_events"
        " WHERE track = 'late' AND updated_at = created_at"
    )
    assert (at, left) == ("2026-01-01 00:00:00", "t")


def stored_tracks(client: Client, text: str | bytes) -> None:
    """A list as base64; "!!!" is none."""
    data = text.encode() if isinstance(text, str) else text
    value = "!!!" if data == b"!!!" else base64.b64encode(data).decode()
    document = json.dumps({"state": {"tracks": value}})
    client.sql(f"UPDATE session_states SET state = {quoted(document)}")


def test_a_poisoned_list_stops_new_tracks_and_nothing_else(client: Client) -> None:
    create(client)
    for text in ("{}", '"x"', "7"):
        stored_tracks(client, text)
        assert track(client, "t") == "2"
    for poison in (b"!!!", b"\xff\xfe", b"[1,"):
        stored_tracks(client, poison)
        with pytest.raises(ServerError) as refused:
            track(client, "t")
        assert refused.value.sqlstate.startswith("22")
        assert append(client, "e", '{"a": "1"}') == "1"
        args: dict[str, Value] = {**KEY, "event_num": 10, "track_time": "-infinity"}
        assert client.run("get", args)[0][0] == "0"
        everything: dict[str, Value] = {"app_name": "app", "user_id": "user", "limit": None}
        more: dict[str, Value] = {"offset": 0, "event_num": 10, "track_time": "-infinity"}
        assert client.run("list", {**everything, **more})[0][0] == "0"
    for empty in ("null", "[]", ""):
        stored_tracks(client, empty)
        assert track(client, "t") == "1" and tracks(client) == ["t"]


def test_track_events_are_read_by_time_and_number(client: Client) -> None:
    create(client)
    for i in range(5):
        track(client, "t", at=f"2026-01-0{i + 1}", event=f'{{"i": {i}}}')
    track(client, "t", at="2026-01-09", track_ttl="-1 hour")
    track(client, "u", at="2026-01-01")

    def seen(**more: Value) -> list[int]:
        rows = client.run("get_track_events", {**KEY, "track": "t", "limit": None, **more})
        return [json.loads(row[2] or "").get("i", -1) for row in rows]

    client.sql(
        "UPDATE session_track_events SET expires_at = '2020-01-01' WHERE created_at > '2026-01-08'"
    )
    assert seen() == [0, 1, 2, 3, 4]
    assert seen(limit=2) == [3, 4] and seen(since="2026-01-03") == [3, 4]
    client.sql("UPDATE session_states SET deleted_at = now()")
    assert seen(limit=1) == [4]  # the session need not be there


# ---- windows ----


def window(client: Client, anchor: str, *roles: str, around: int = 9) -> list[tuple[str, str]]:
    args: dict[str, Value] = {**KEY, "event_id": anchor}
    args["roles"] = list(roles or ("user", "assistant", "tool"))
    both = [
        client.run("get_window", {**args, "before": around, "after": around}, {"find": find})
        for find in ("scan", "index")
    ]
    assert both[0] == both[1]
    return [(row[0] or "", json.loads(row[3] or "")["id"]) for row in both[0]]


def raw(client: Client, name: str, first: dict[str, object], **more: object) -> None:
    event = {"id": name, "choices": [{"message": first}]} | more
    args: dict[str, Value] = {**KEY, **NO_TTL, "event": json.dumps(event), "delta": "{}"}
    assert client.run("append_event", args)[0][0] == "1"


def test_windows_hold_what_counts(client: Client) -> None:
    create(client)
    raw(client, "user", {"role": "user", "content": "hi"})
    raw(client, "call", {"role": "assistant", "content": "x", "tool_calls": [{"id": "c"}]})
    raw(client, "result", {"role": "tool", "tool_id": "c", "content": "42"})
    raw(client, "odd", {"role": "user", "tool_id": "c", "content": "a tool's, whatever it says"})
    raw(client, "blank", {"role": "assistant", "content": " \n\t"})
    raw(client, "parts", {"content_parts": [{"type": "image"}, {"type": "text", "text": "t"}]})
    raw(client, "system", {"role": "system", "content": "no"})
    raw(client, "partial", {"role": "assistant", "content": "par"}, is_partial=True)
    raw(client, "no_calls", {"role": "assistant", "content": "y", "tool_calls": None})
    raw(client, "delta", {}, choices=[{"delta": {"content": "z"}}])
    raw(client, "none", {}, choices=[])
    told = ["user", "result", "odd", "parts", "no_calls"]
    assert [name for _, name in window(client, "result")] == told
    assert window(client, "parts", around=1) == [("-1", "odd"), ("0", "parts"), ("1", "no_calls")]
    assert window(client, "parts", around=0) == [("0", "parts")]
    assert [name for _, name in window(client, "user", "user")] == ["user"]
    assert [name for _, name in window(client, "odd", "tool")] == ["result", "odd"]
    # A message without a role is the assistant's.
    assert [name for _, name in window(client, "parts", "assistant")] == ["parts", "no_calls"]
    for name in ("call", "blank", "system", "partial", "delta", "none", "unknown"):
        assert window(client, name) == []
    assert window(client, "result", "user") == [] and window(client, "system", "system") == []
    expire(client)
    assert window(client, "user") == []


# ---- application and user ----


@pytest.mark.parametrize("kind", ["app", "user"])
def test_states_of_applications_and_users(client: Client, kind: str) -> None:
    owner: dict[str, Value] = {"app_name": "app"}
    if kind == "user":
        owner["user_id"] = "user"

    def put(keys: list[str], values: list[str | None], ttl: Value = None) -> None:
        args: dict[str, Value] = {**owner, "keys": keys, "values": values, "ttl": ttl}
        client.run(f"put_{kind}_states", args)

    def stored() -> list[tuple[str | None, ...]]:
        return client.run(f"list_{kind}_states", owner)

    put(["b", "a", "b", "ä"], ["1", "2", "3", None])
    assert sorted(stored(), key=str) == [("a", "2"), ("b", "3"), ("ä", None)]
    put(["a"], ["x"], "-1 s")
    assert ("a", "x") not in stored() and len(stored()) == 2
    put(["a"], ["again"], "1 hour")  # one that has expired lives again
    assert ("a", "again") in stored()
    with pytest.raises(ServerError):
        put(["new", "k" * 256], ["1", "2"])
    assert len(stored()) == 3  # all or none
    client.run(f"delete_{kind}_state", {**owner, "key": "a"})
    assert len(stored()) == 2 and len(client.sql(f"SELECT FROM {kind}_states")) == 3
    client.run(f"hard_delete_{kind}_state", {**owner, "key": "a"})
    assert len(client.sql(f"SELECT FROM {kind}_states")) == 2
    put(["a"], ["third"])
    assert ("a", "third") in stored()


# ---- deleting and restoring ----


def delete(client: Client, hard: bool = False) -> None:
    in_one(client, [(f"hard_{one}" if hard else one, KEY, {}) for one in DELETE])


def full(client: Client) -> None:
    assert create(client)
    assert append(client, "e1") == "1" and track(client, "t") == "1" and summarize(client) == "1"


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


# ---- lists ----


@pytest.mark.parametrize("name", ["list_meta", "list"])
def test_lists_are_ordered_and_paged(client: Client, name: str) -> None:
    for i in range(7):
        create(client, session_id=f"s{i}")
    client.sql(
        "UPDATE session_states SET updated_at = '2026-01-01' WHERE session_id IN ('s1', 's5')"
    )
    client.sql("UPDATE session_states SET expires_at = '2026-01-01' WHERE session_id = 's6'")
    user: dict[str, Value] = {"app_name": "app", "user_id": "user", "limit": None, "offset": 0}
    chosen: dict[str, str] = {}
    if name == "list":
        user["event_num"] = 5
        chosen["tracks"] = "none"

    def names(**more: Value) -> list[str]:
        return [row[1] or "" for row in client.run(name, {**user, **more}, chosen)]

    every = names()
    assert every == ["s4", "s3", "s2", "s0", "s5", "s1"]
    assert names(limit=2, offset=3) == ["s0", "s5"]
    seen: list[str] = []
    more: dict[str, Value] = {}
    while rows := client.run(name, {**user, **more, "limit": 1}, chosen):
        seen += [row[1] or "" for row in rows]
        more = {"before": rows[-1][5], "before_id": rows[-1][1]}
    assert seen == every


def test_one_row_that_is_broken_leaves_the_others(client: Client) -> None:
    for name in ("good", "bad"):
        create(client, session_id=name)
        append(client, "e", session_id=name)
    client.sql("UPDATE session_states SET state = '7' WHERE session_id = 'bad'")
    client.sql(
        "INSERT INTO session_events (app_name, user_id, session_id, event)"
        " SELECT 'app', 'user', 'bad', e FROM (VALUES ('7'::jsonb), ('[]'), ('null'),"
        """ ('{"timestamp": "2026-99-99T00:00:00Z"}')) AS e (e)"""
    )
    args: dict[str, Value] = {"app_name": "app", "user_id": "user", "limit": None, "offset": 0}
    args["event_num"] = 9
    for since in (False, True):
        if since:
            args["event_time"] = "2026-01-01"
        rows = client.run("list", args, {"tracks": "none"})
        assert [row[0] for row in rows if row[1] == "good"] == ["0", "4"]
        assert [row[6] for row in rows if row[:2] == ("0", "bad")] == ["7"]
        assert len([row for row in rows if row[1] == "bad"]) == 6
