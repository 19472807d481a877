"""What get() and list() show of a session's events, against the peer's rules in Python.

The rules: begin at the first event whose own time is not before `event_time`; keep the last
`event_num`; begin at the first message of the user in what is left, and where there is none put the
user's last one before it; without any there is nothing.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from storequery import Client, Value, quoted

START = datetime(2026, 3, 1, 12, 0, 0)
SLACK = timedelta(minutes=5)
CASES = 5000
KEY: dict[str, Value] = {"app_name": "app", "user_id": "user"}
FAR_FUTURE = START + timedelta(days=1)


def of(name: str, **more: Value) -> dict[str, Value]:
    return {**KEY, "session_id": name, **more}


@dataclass(frozen=True)
class Event:
    id: int  # of its row
    created_at: datetime
    own_time: datetime | None  # None: it has none that can be read
    user: bool


def is_late(one: Event, since: datetime) -> bool:
    """Five minutes after the time asked for, events are taken without a look at their own."""
    return one.own_time >= since if one.own_time else one.created_at >= since + SLACK


def expected(events: Iterable[Event], number: int | None, since: datetime | None) -> list[int]:
    every = sorted(events, key=lambda one: (one.created_at, one.id))
    window = every
    if since is not None:
        late = [i for i, one in enumerate(every) if is_late(one, since)]
        window = every[late[0] :] if late else []
    if number is not None and len(window) > number:
        window = window[-number:]
    for i, one in enumerate(window):
        if one.user:
            return [each.id for each in window[i:]]
    said = [one for one in every if one.user]
    return [one.id for one in [*said[-1:], *window]] if said else []


UNREADABLE = ["", "yesterday", "infinity", "2026-03-01", "2026-03-01T12:00:00"]
UNREADABLE += ["2026-02-30T10:00:00Z", "0000-01-01T00:00:00Z", "2026-03-01T25:00:00Z"]
UNREADABLE += ["2026-03-01T12:00:00+99:00"]


def written(one: Event, dice: random.Random) -> str:
    """The event as a peer may have stored it."""
    role = "user" if one.user else dice.choice(["assistant", "tool", ""])
    message = {"role": role, "content": f"said {one.id}"}
    place = "delta" if dice.random() < 0.1 else "message"
    choices: list[dict[str, object]] = [{"index": 0, place: message}]
    if dice.random() < 0.1:
        choices.insert(0, {"index": 1, "message": {"role": "assistant", "content": "first"}})
    event: dict[str, object] = {"id": f"e{one.id}", "choices": choices, "version": 1}
    if one.own_time is not None:
        event["timestamp"] = rfc3339(one.own_time, dice)
    elif dice.random() < 0.8:
        event["timestamp"] = dice.choice([*UNREADABLE, 17, None, {"a": 1}])
    return json.dumps(event)


def rfc3339(at: datetime, dice: random.Random) -> str:
    minutes = dice.choice([0, 0, 480, -480, 345])
    local = at + timedelta(minutes=minutes)
    text = local.isoformat(timespec="microseconds")
    if dice.random() < 0.3:
        text += "000"  # nanoseconds
    if minutes == 0 and dice.random() < 0.7:
        return f"{text}Z"
    sign = "-" if minutes < 0 else "+"
    return f"{text}{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def session(dice: random.Random) -> list[tuple[datetime, datetime | None, bool, bool]]:
    """created_at, own time, whether it is of the user, whether it is deleted."""
    at = START
    users = dice.choice([0.0, 0.05, 0.3, 0.9])
    ties = dice.choice([0.0, 0.3, 1.0])
    out = []
    for _ in range(dice.choice([0, 1, 2, 5, 12, 30])):
        if dice.random() >= ties:
            at += timedelta(seconds=dice.choice([0.000001, 1, 40, 200, 600]))
        own = None
        if dice.random() < 0.9:
            own = at + timedelta(seconds=dice.choice([0, 0, -1, 1, -200, 200, -299, 299]))
        out.append((at, own, dice.random() < users, dice.random() < 0.1))
    return out


def store(client: Client, name: str, dice: random.Random) -> list[Event]:
    """Stores a session in an order of rows that is not that of their times."""
    rows = session(dice)
    dice.shuffle(rows)
    client.run("create", of(name, state="{}", ttl=None))
    kept = []
    for at, own, user, deleted in rows:
        ((row_id,),) = client.sql("SELECT nextval('session_events_id_seq')")
        one = Event(int(row_id or 0), at, own, user)
        client.sql(
            "INSERT INTO session_events"
            " (id, app_name, user_id, session_id, event, created_at, updated_at, deleted_at)"
            f" VALUES ({one.id}, 'app', 'user', '{name}', {quoted(written(one, dice))},"
            f" '{at}', '{at}', {'now()' if deleted else 'NULL'})"
        )
        if not deleted:
            kept.append(one)
    return kept


def limits(dice: random.Random, events: list[Event]) -> tuple[int | None, datetime | None]:
    number = dice.choice([None, 1, 2, 3, 10, 100])
    if dice.random() < 0.35:
        return number, None
    times = [one.own_time for one in events if one.own_time] or [START]
    offset = timedelta(microseconds=dice.choice([0, 1, -1, 1_000_000, -30_000_000]))
    return number, dice.choice([*times, FAR_FUTURE, START - timedelta(days=1)]) + offset


def arguments(number: int | None, since: datetime | None) -> dict[str, Value]:
    out: dict[str, Value] = {"event_num": number}
    return out if since is None else {**out, "event_time": str(since)}


def shown(rows: Iterable[tuple[str | None, ...]], kind: int, row_id: int) -> list[int]:
    return [int(row[row_id] or 0) for row in rows if row[kind] in ("3", "4")]


def test_random_sessions(client: Client) -> None:
    """Several windows of each of many sessions, all of them alone and in a list."""
    dice = random.Random(20260301)
    names = [f"s{i}" for i in range(250)]
    sessions = {name: store(client, name, dice) for name in names}
    client.sql("ANALYZE")
    wrong, cases, before, empty = [], 0, 0, 0
    for name, events in sessions.items():
        for _ in range(CASES // len(sessions)):
            number, since = limits(dice, events)
            args = of(name) | arguments(number, since)
            rows = client.run("get", args, {"tracks": "none"})
            wanted = expected(events, number, since)
            before += any(row[0] == "3" for row in rows)
            empty += not wanted
            cases += 1
            if shown(rows, 0, 2) != wanted:
                wrong.append((name, number, since, shown(rows, 0, 2), wanted))
    assert not wrong, wrong[:3]
    assert cases == CASES and before > CASES / 20 and empty > CASES / 20
    lists_agree(client, sessions, dice)


def lists_agree(client: Client, sessions: dict[str, list[Event]], dice: random.Random) -> None:
    for _ in range(20):
        number, since = limits(dice, dice.choice(list(sessions.values())))
        args: dict[str, Value] = {**KEY, "limit": None, "offset": 0}
        args |= arguments(number, since)
        rows = client.run("list", args, {"tracks": "none"})
        for name, events in sessions.items():
            own = [row for row in rows if row[1] == name]
            assert shown(own, 0, 3) == expected(events, number, since), (name, number, since)


def test_control_without_a_look_at_what_is_left_out(client: Client) -> None:
    """A window that is full may begin before the first event of the time asked for."""
    one = Event(1, START, START + timedelta(seconds=30), True)
    two = Event(2, START + timedelta(seconds=60), None, False)
    three = Event(3, START + timedelta(seconds=61), START + timedelta(seconds=61), True)
    since = START + timedelta(seconds=20)
    assert expected([one, two, three], 2, since) == [3]
    # Whether row 2 belongs to the window depends on row 1, which the limit leaves out.
    user = Event(2, two.created_at, None, True)
    assert expected([one, user, three], 2, since) == [2, 3]
    assert expected([user, three], 2, since) == [3]
    client.run("create", of("s", state="{}", ttl=None))
    for each in (one, user, three):
        text = written(Event(each.id, each.created_at, each.own_time, True), random.Random(1))
        client.sql(
            "INSERT INTO session_events (id, app_name, user_id, session_id, event, created_at)"
            f" VALUES ({each.id}, 'app', 'user', 's', {quoted(text)}, '{each.created_at}')"
        )
    args = of("s") | arguments(2, since)
    assert shown(client.run("get", args, {"tracks": "none"}), 0, 2) == [2, 3]


@pytest.mark.parametrize("text", UNREADABLE)
def test_control_a_time_that_fails_is_passed_over(client: Client, text: str) -> None:
    """Without the pattern one such time would fail the whole statement, or mean something else."""
    client.run("create", of("s", state="{}", ttl=None))
    event = {"id": "e", "timestamp": text, "choices": [{"message": {"role": "user"}}]}
    args = of("s", event=json.dumps(event), delta="{}", ttl=None, ttl_slack="0")
    assert client.run("append_event", args)[0][0] == "1"
    now = datetime.now(UTC).replace(tzinfo=None)
    args = of("s") | arguments(None, now - timedelta(minutes=1))
    rows = client.run("get", args, {"tracks": "none"})
    assert [row[0] for row in rows] == ["0", "3"]  # the user's last message, before an empty window


def test_every_real_day_can_be_read(client: Client) -> None:
    """The pattern takes each day of two leap years and two others, and the server agrees."""
    client.run("create", of("s", state="{}", ttl=None))
    client.sql(
        "INSERT INTO session_events (app_name, user_id, session_id, event, created_at)"
        " SELECT 'app', 'user', 's', jsonb_build_object('id', d::text, 'timestamp',"
        " to_char(d, 'YYYY-MM-DD') || 'T23:59:59.999999999+15:59', 'choices',"
        " '[{\"message\": {\"role\": \"user\"}}]'::jsonb), '2026-06-01'"
        " FROM (SELECT generate_series('2000-01-01'::date, '2001-12-31', '1 day')"
        " UNION SELECT generate_series('2023-01-01'::date, '2024-12-31', '1 day')) AS x (d)"
    )
    args = of("s") | arguments(None, datetime(2026, 6, 1))
    # A time that the pattern took wrongly would be an error; none is as late as asked for.
    rows = client.run("get", args, {"tracks": "none"})
    assert [row[0] for row in rows] == ["0", "3"]
    client.sql("UPDATE session_events SET created_at = '1999-12-31' WHERE event ->> 'id' >= '2000'")
    client.sql("UPDATE session_events SET created_at = (event ->> 'timestamp')::timestamptz")
    args["event_time"] = "2023-12-31T07:59:00"
    rows = client.run("get", args, {"tracks": "none"})
    assert sum(row[0] == "4" for row in rows) == 367
