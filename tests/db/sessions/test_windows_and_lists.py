"""What windows around events and lists of sessions hold."""

from __future__ import annotations

import json

import pytest
from sessionops import KEY, NO_TTL, append, create, expire
from storequery import Client, Value

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
