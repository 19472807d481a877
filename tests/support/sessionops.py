"""What tests do to sessions through the module's queries; all of it to one session unless told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from stele.libpq import Row
from storequery import Client, Value

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


def delete(client: Client, hard: bool = False) -> None:
    in_one(client, [(f"hard_{one}" if hard else one, KEY, {}) for one in DELETE])


def full(client: Client) -> None:
    assert create(client)
    assert append(client, "e1") == "1" and track(client, "t") == "1" and summarize(client) == "1"
