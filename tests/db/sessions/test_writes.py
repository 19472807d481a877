"""What the statements that write to sessions leave behind, one client at a time."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from sessionops import (
    KEY,
    NO_TTL,
    append,
    count,
    create,
    expire,
    ids,
    message,
    state,
    summarize,
    track,
)
from stele.libpq import Row, ServerError
from storequery import Client, Value, quoted

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
    return told(client, client.run("update_state", args))


def told(client: Client, changed: list[Row]) -> str:
    """What a change came to: "1", "2" for a state that cannot be changed, or "none"."""
    if changed:
        return "1"
    why = client.run("can_be_changed", KEY)
    return {"f": "2", "t": "sound"}[why[0][0] or ""] if why else "none"


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
    assert append(client, "e", '{"a": "1"}') == "none" and track(client, "t") == "2"
    args: dict[str, Value] = {**group("s"), "deltas": ["{}"], "places": [1], "events": ["{}"]}
    assert [row[:4] for row in client.run("append_group", args)] == [("1", "2", "0", None)]
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
        assert len(client.run(call, args)) == 1

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
        assert updates(0) == (0, 0)
        for i in range(200):
            update(client, f'{{"k": "{i}"}}', ttl=ttl, ttl_slack=slack)
        all_of, hot_ones = updates(200)
        assert all_of == 200
        return hot_ones / 200

    def updates(wanted: int) -> tuple[int, int]:
        """Counted by the server: at once if it can be told to, else within seconds."""
        flush = client.sql("SELECT to_regproc('pg_stat_force_next_flush')") != [(None,)]
        deadline = time.monotonic() + 60
        while True:
            client.sql("SELECT pg_stat_force_next_flush()" if flush else "SELECT pg_sleep(0.1)")
            ((all_of, hot_ones),) = client.sql(
                "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
                " WHERE relname = 'session_states'"
            )
            if int(all_of or 0) == wanted or flush or time.monotonic() > deadline:
                return int(all_of or 0), int(hot_ones or 0)

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


def once(client: Client, name: str, session_id: Value = KEY["session_id"]) -> str:
    """Behind the lock of its session, in one transaction."""
    client.sql("BEGIN")
    client.run("lock_session", {**KEY, "session_id": session_id})
    found = append(client, name, event_id=name, session_id=session_id)
    client.sql("COMMIT")
    return found


def test_an_event_is_stored_once(client: Client) -> None:
    create(client)
    create(client, session_id="other")
    for name, wanted in (("e1", "1"), ("e1", "3"), ("e2", "1"), ("e1", "3")):
        assert once(client, name) == wanted
    assert once(client, "e1", session_id="other") == "1"
    assert ids(client) == ["e1", "e2", "e1"]
    client.sql("UPDATE session_events SET deleted_at = now() WHERE event ->> 'id' = 'e1'")
    assert once(client, "e1") == "1"  # one that was cut off may come again
    client.sql("BEGIN")
    client.run("lock_session", KEY)
    answers = [append(client, name, event_id=name) for name in ("e3", "e4", "e3")]
    client.sql("COMMIT")
    assert answers == ["1", "1", "3"]
    assert append(client, "e5", event_id="e5") == "none"  # without the lock
    client.sql("UPDATE session_states SET deleted_at = now()")
    assert once(client, "e2") == "none"


OWNERS = ("app_names", "user_ids", "session_ids")


def group(*names: str) -> dict[str, Value]:
    count = len(names)
    owners: dict[str, Value] = {"app_names": ["app"] * count, "user_ids": ["user"] * count}
    return {**owners, **NO_TTL, "session_ids": list(names), "meant": []}


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
    args["events"] = [
        message("e0", stateDelta={"b": "9"}),
        *(message("e7"), message("e9", stateDelta={"c": "3", "n": None}), message("e3")),
        message("e9", stateDelta={"c": "9"}),
    ]
    args["deltas"] = ['{"b": "9", "c": "9", "n": null}', "{}", '{"own": ""}']
    client.sql("BEGIN")
    client.run("lock_sessions", {name: args[name] for name in OWNERS})
    rows = client.run("append_group", args, {"once": "yes"})
    client.sql("COMMIT")
    assert [row[:3] for row in rows] == [("1", "1", "1"), ("2", "0", "0"), ("3", "1", "1")]
    assert len(client.sql("SELECT FROM session_events")) == 6
    # What is left out takes its state with it: what was set since is not taken back.
    states = client.sql("SELECT state -> 'state' FROM session_states ORDER BY session_id")
    assert [json.loads(row[0] or "") for row in states] == [
        *({"a": "1", "b": "2", "c": "3", "n": None}, {"own": ""})
    ]


def test_a_group_enters_no_other_session_than_was_meant(client: Client) -> None:
    """One that was created anew, or taken over when it had expired, is another one."""
    began: dict[str, str | int | None] = {}
    for name in ("s", "anew", "over", "any"):
        create(client, session_id=name)
        began[name] = client.sql(
            f"SELECT created_at FROM session_states WHERE session_id = '{name}'"
        )[0][0]
    client.sql("UPDATE session_states SET deleted_at = now() WHERE session_id = 'anew'")
    client.sql("UPDATE session_states SET expires_at = '2020-01-01' WHERE session_id = 'over'")
    create(client, session_id="anew")
    create(client, session_id="over")
    args: dict[str, Value] = {
        **group("s", "anew", "over", "any"),
        "deltas": ['{"b": "2"}'] * 4,
        "meant": [began["s"], began["anew"], began["over"], None],
        "places": [1, 2, 3, 4],
        "events": [message(f"e{i}") for i in range(4)],
    }
    rows = client.run("append_group", args)
    assert [row[1] for row in rows] == ["1", "0", "0", "1"]
    assert [row[4] for row in rows] == [began["s"], None, None, began["any"]]
    assert len(client.sql("SELECT FROM session_events")) == 2
    changed = client.sql("SELECT session_id FROM session_states WHERE state -> 'state' ? 'b'")
    assert sorted(changed) == [("any",), ("s",)]
    args["meant"] = []  # the control: not known
    assert [row[1] for row in client.run("append_group", args)] == ["1"] * 4
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
