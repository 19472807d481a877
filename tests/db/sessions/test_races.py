"""Many clients at once: nothing is lost, doubled, out of order or left behind.

Where the plain way fails, it stands here as a control: so the test is known to be able to fail.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from cluster import Cluster
from stele.ddl_text import DdlOptions, optional_indexes
from stele.libpq import Row, ServerError
from storequery import Client, Queries, Value
from waiting import eventually

CLIENTS = 32
KEY: dict[str, Value] = {"app_name": "app", "user_id": "user", "session_id": "s"}
NO_TTL: dict[str, Value] = {"ttl": None, "ttl_slack": "0"}
OWNERS: dict[str, Value] = {"app_names": ["app"], "user_ids": ["user"], "session_ids": ["s"]}
DELETE = (
    *("delete_session", "delete_session_events"),
    *("delete_session_tracks", "delete_session_summaries"),
)
ORPHANS = """
    SELECT count(*) FROM session_events AS e WHERE e.deleted_at IS NULL AND NOT EXISTS (
        SELECT FROM session_states AS s WHERE s.deleted_at IS NULL
        AND (s.app_name, s.user_id, s.session_id) = (e.app_name, e.user_id, e.session_id))
"""
OUT_OF_ORDER = """
    SELECT count(*) FROM (
        SELECT at < lag(at) OVER (ORDER BY created_at, id) AS wrong
        FROM (SELECT created_at, id, pg_xact_commit_timestamp(xmin) AS at FROM session_events) AS e
    ) AS x WHERE wrong
"""

Connect = Callable[[], Client]


@pytest.fixture(scope="module")
def watched(queries: Queries) -> Iterator[str]:
    """A server that keeps the times of commits, and notices deadlocks soon."""
    settings = {
        **{"track_commit_timestamp": "on", "deadlock_timeout": "20ms", "max_connections": "100"},
        "fsync": "off",
    }
    with Cluster(settings) as own:
        own.psql(queries.ddl(DdlOptions(optional=frozenset(optional_indexes(queries.module)))))
        yield own.url()


@pytest.fixture
def crowd(watched: str, queries: Queries) -> Iterator[Connect]:
    made: list[Client] = []

    def make() -> Client:
        made.append(Client(queries, watched))
        return made[-1]

    make().sql("; ".join(f"DELETE FROM {table.name}" for table in queries.module.tables))
    yield make
    for client in made:
        client.close()


def at_once(clients: list[Client], work: Callable[[int, Client], Any]) -> list[Any]:
    """Runs work(i, client) on all clients, which begin together."""
    start = threading.Barrier(len(clients))

    def run(i: int) -> Any:
        start.wait()
        return work(i, clients[i])

    with ThreadPoolExecutor(len(clients)) as threads:
        return list(threads.map(run, range(len(clients))))


def create(client: Client, **more: Value) -> list[Row]:
    return client.run("create", {**KEY, "state": "{}", "ttl": None, **more})


def append(client: Client, name: str, delta: str = "{}", **more: Value) -> str:
    event = json.dumps({"id": name, "choices": [{"message": {"role": "user"}}]})
    args: dict[str, Value] = {**KEY, **NO_TTL, "event": event, "delta": delta, **more}
    rows = client.run("append_event", args)
    return rows[0][0] or "" if rows else "none"


def delete(client: Client) -> None:
    client.sql("BEGIN")
    for name in DELETE:
        client.run(name, KEY)
    client.sql("COMMIT")


def number(client: Client, sql: str) -> int:
    ((found,),) = client.sql(sql)
    return int(found or 0)


def state_keys(client: Client) -> set[str]:
    rows = client.sql("SELECT jsonb_object_keys(state -> 'state') FROM session_states")
    return {row[0] or "" for row in rows}


class Waiting:
    """A call of a client in a thread, which waits for a lock that another holds."""

    def __init__(self, client: Client, watcher: Client, call: Callable[[], Any]) -> None:
        self.threads = ThreadPoolExecutor(1)
        ((pid,),) = client.sql("SELECT pg_backend_pid()")
        self.answer: Future[Any] = self.threads.submit(call)
        sql = f"SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted"
        assert eventually(lambda: number(watcher, sql) == 1)

    def result(self) -> Any:
        found = self.answer.result(timeout=120)
        self.threads.shutdown()
        return found


# ---- one hot session ----


def test_a_hot_session_keeps_every_key_and_its_order(crowd: Connect) -> None:
    clients = [crowd() for _ in range(CLIENTS)]
    create(clients[0])
    rounds = 40

    def work(i: int, client: Client) -> None:
        for n in range(rounds):
            if n % 4 == 3:  # state alone
                args: dict[str, Value] = {**KEY, **NO_TTL, "removed": []}
                args["delta"] = f'{{"{i}-{n}": ""}}'
                assert len(client.run("update_state", args)) == 1
            else:
                assert append(client, f"{i}-{n}", f'{{"{i}-{n}": ""}}') == "1"

    at_once(clients, work)
    client = clients[0]
    assert state_keys(client) == {f"{i}-{n}" for i in range(CLIENTS) for n in range(rounds)}
    total = CLIENTS * rounds * 3 // 4
    counts = "SELECT count(*) || ' ' || count(DISTINCT created_at) FROM session_events"
    assert client.sql(counts) == [(f"{total} {total}",)]
    assert number(client, OUT_OF_ORDER) == 0


def test_control_the_time_of_the_transaction_is_out_of_order(crowd: Connect) -> None:
    clients = [crowd() for _ in range(CLIENTS)]
    create(clients[0])
    text = (
        "WITH t AS (UPDATE session_states SET updated_at = now() RETURNING updated_at)"
        " INSERT INTO session_events (app_name, user_id, session_id, event, created_at)"
        " SELECT 'app', 'user', 's', '{}', updated_at FROM t"
    )
    at_once(clients, lambda i, client: [client.sql(text) for _ in range(20)])
    assert number(clients[0], OUT_OF_ORDER) > 0


def test_groups_beside_single_appends(crowd: Connect) -> None:
    """Groups that meet in one hot session, each with others of its own and one that is missing."""
    clients = [crowd() for _ in range(16)]
    create(clients[0])
    for i in range(8):
        create(clients[0], session_id=f"own{i}")
    rounds, size = 15, 12

    def work(i: int, client: Client) -> None:
        dice = random.Random(i)
        for n in range(rounds):
            if i >= 8:
                assert append(client, f"{i}-{n}", f'{{"{i}-{n}": ""}}') == "1"
                continue
            names = ["s", f"own{i}", f"own{(i + 1) % 8}", "missing"]
            dice.shuffle(names)
            args: dict[str, Value] = {
                **NO_TTL,
                **{"app_names": ["app"] * 4, "user_ids": ["user"] * 4, "session_ids": names},
                "deltas": [f'{{"{i}-{n}": ""}}'] * 4,
                "meant": [],
                "places": [1 + k % 4 for k in range(size)],
                "events": [f'{{"id": "{i}-{n}-{k}"}}' for k in range(size)],
            }
            rows = client.run("append_group", args)
            assert [row[1] == "1" for row in rows] == [name != "missing" for name in names]

    at_once(clients, work)
    client = clients[0]
    total = 8 * rounds * size * 3 // 4 + 8 * rounds
    assert number(client, "SELECT count(*) FROM session_events") == total
    doubles = "SELECT count(*) FROM (SELECT FROM session_events GROUP BY {} HAVING count(*) > 1) x"
    assert number(client, doubles.format("session_id, created_at")) == 0
    assert number(client, doubles.format("event ->> 'id'")) == 0
    keys = client.sql(
        "SELECT count(*) FROM session_states, jsonb_object_keys(state -> 'state')"
        " WHERE session_id = 's'"
    )
    assert keys == [(str(16 * rounds),)]
    per_session = OUT_OF_ORDER.replace("OVER (ORDER", "OVER (PARTITION BY session_id ORDER")
    per_session = per_session.replace("SELECT created_at,", "SELECT session_id, created_at,")
    assert number(client, per_session) == 0


def test_repeatable_read_fails_where_read_committed_waits(crowd: Connect) -> None:
    """Why clients of these tables must not change the default isolation."""
    one, two = crowd(), crowd()
    create(one)
    two.sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM session_states")
    assert append(one, "e1") == "1"
    with pytest.raises(ServerError) as refused:
        append(two, "e2")
    assert refused.value.sqlstate == "40001"
    two.sql("ROLLBACK")
    assert append(two, "e2") == "1"


# ---- once only ----


def once(client: Client, name: str) -> str:
    client.sql("BEGIN")
    client.run("lock_session", KEY)
    found = append(client, name, event_id=name)
    client.sql("COMMIT")
    return found


def test_an_event_id_is_stored_once(crowd: Connect) -> None:
    clients = [crowd() for _ in range(16)]
    create(clients[0])
    found = at_once(clients, lambda i, client: [once(client, f"e{n}") for n in range(20)])
    answers = [answer for one in found for answer in one]
    assert (answers.count("1"), answers.count("3")) == (20, 15 * 20)
    assert number(clients[0], "SELECT count(*) FROM session_events") == 20


def test_control_looking_in_the_same_statement_stores_it_twice(crowd: Connect) -> None:
    """The snapshot is older than the row that the statement waits for."""
    one, two, watcher = crowd(), crowd(), crowd()
    create(one)
    text = (
        "WITH t AS (UPDATE session_states SET updated_at = now() WHERE session_id = 's'"
        " AND NOT EXISTS (SELECT FROM session_events WHERE event ->> 'id' = 'e') RETURNING 1)"
        " INSERT INTO session_events (app_name, user_id, session_id, event)"
        " SELECT 'app', 'user', 's', '{\"id\": \"e\"}' FROM t"
    )
    one.sql("BEGIN")
    one.sql(text)
    second = Waiting(two, watcher, lambda: two.sql(text))
    one.sql("COMMIT")
    second.result()
    assert number(one, "SELECT count(*) FROM session_events") == 2


def once_in_a_group(client: Client, name: str) -> str:
    args: dict[str, Value] = {**OWNERS, **NO_TTL, "deltas": ["{}"], "meant": [], "places": [1]}
    rows = client.run("append_group", {**args, "events": [f'{{"id": "{name}"}}']}, {"once": "yes"})
    return rows[0][1] or ""


def once_alone(client: Client, name: str) -> str:
    return append(client, name, event_id=name)


@pytest.mark.parametrize("group", [False, True])
def test_a_session_that_came_after_the_lock_is_none(crowd: Connect, group: bool) -> None:
    """There was no row to lock; in the one that came, another may be storing the same event."""
    one, two, watcher = crowd(), crowd(), crowd()
    two.sql("BEGIN")
    assert two.run("lock_sessions", OWNERS) == [] == two.run("lock_session", KEY)
    create(one)
    one.sql("BEGIN")
    one.run("lock_session", KEY)
    assert append(one, "e", event_id="e") == "1"
    ((pid,),) = two.sql("SELECT pg_backend_pid()")
    with ThreadPoolExecutor(1) as threads:
        work = once_in_a_group if group else once_alone
        second = threads.submit(work, two, "e")
        waits = f"SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted"
        assert eventually(lambda: second.done() or number(watcher, waits) == 1)
        one.sql("COMMIT")
        assert second.result(timeout=120) == ("0" if group else "none")
    two.sql("COMMIT")
    assert number(one, "SELECT count(*) FROM session_events") == 1


def test_groups_store_once_too(crowd: Connect) -> None:
    clients = [crowd() for _ in range(8)]
    create(clients[0])
    create(clients[0], session_id="t")

    def work(i: int, client: Client) -> int:
        stored = 0
        for n in range(10):
            names = ["s", "t"] if (i + n) % 2 else ["t", "s"]
            owners: dict[str, Value] = {
                **{"app_names": ["app"] * 2, "user_ids": ["user"] * 2, "session_ids": names},
            }
            args: dict[str, Value] = {
                **owners,
                **NO_TTL,
                "deltas": ["{}"] * 2,
                "meant": [],
                "places": [1, 2, 1],
                "events": [f'{{"id": "{n}"}}', f'{{"id": "{n}"}}', f'{{"id": "{n}+"}}'],
            }
            client.sql("BEGIN")
            client.run("lock_sessions", owners)
            rows = client.run("append_group", args, {"once": "yes"})
            client.sql("COMMIT")
            stored += sum(int(row[2] or 0) for row in rows)
        return stored

    stored = sum(at_once(clients, work))
    assert number(clients[0], "SELECT count(*) FROM session_events") == stored
    doubles = (
        "SELECT count(*) FROM (SELECT FROM session_events"
        " GROUP BY session_id, event ->> 'id' HAVING count(*) > 1) AS x"
    )
    assert number(clients[0], doubles) == 0 and stored >= 30


# ---- creating and deleting ----


def test_of_many_creators_one_wins_and_all_see_the_session(crowd: Connect) -> None:
    clients = [crowd() for _ in range(16)]

    def get_or_create(i: int, client: Client) -> tuple[bool, int]:
        client.sql("BEGIN")
        made = create(client, ttl="1 hour")
        for name in ("clear_former_events", "clear_former_tracks", "clear_former_summaries"):
            client.run(name, KEY)
        rows = client.run("get", {**KEY, "event_num": 5}, {"tracks": "none"})
        client.sql("COMMIT")
        return bool(made), len(rows)

    for n in range(10):
        found = at_once(clients, get_or_create)
        assert sum(made for made, _ in found) == 1, n
        assert {rows for _, rows in found} == {1}
        append(clients[0], "former", **{"ttl": "1 hour"})
        if n % 2:
            clients[0].sql("UPDATE session_states SET expires_at = now() - interval '1 s'")
        else:
            delete(clients[0])
    live = "SELECT count(*) FROM session_states WHERE deleted_at IS NULL"
    assert number(clients[0], live) <= 1 and number(clients[0], ORPHANS) == 0


def test_a_session_that_an_append_revives_is_not_taken_over(crowd: Connect) -> None:
    one, two, watcher = crowd(), crowd(), crowd()
    create(one, ttl="-1 s")
    one.sql("BEGIN")
    assert append(one, "e1", ttl="1 hour") == "1"
    second = Waiting(two, watcher, lambda: create(two))
    one.sql("COMMIT")
    assert second.result() == []
    assert number(one, "SELECT count(*) FROM session_events WHERE deleted_at IS NULL") == 1


def test_an_append_beside_the_takeover_belongs_to_the_new_one(crowd: Connect) -> None:
    """What was committed when create() got the row is former; what waited for it is not."""
    one, two, watcher = crowd(), crowd(), crowd()
    create(one, ttl="-1 s")
    append(one, "former", ttl="-1 s")
    one.sql("BEGIN")
    assert create(one, ttl="1 hour")
    one.run("clear_former_events", KEY)
    second = Waiting(two, watcher, lambda: append(two, "new", ttl="1 hour"))
    one.sql("COMMIT")
    assert second.result() == "1"
    rows = one.run("get", {**KEY, "event_num": 5}, {"tracks": "none"})
    assert [json.loads(row[5] or "")["id"] for row in rows if row[0] == "4"] == ["new"]


def test_deleting_beside_appends_leaves_no_orphan(crowd: Connect) -> None:
    clients = [crowd() for _ in range(8)]

    def work(i: int, client: Client) -> int:
        done = 0
        for n in range(60):
            if i < 2:
                delete(client)
            elif append(client, f"{i}-{n}") == "none":
                create(client)
            else:
                done += 1
        return done

    assert sum(at_once(clients, work)) > 50
    assert number(clients[0], ORPHANS) == 0


def delete_beside_an_append(crowd: Connect, call: Callable[[Client], Any]) -> int:
    """An append that commits while a deletion waits for it; how many orphans there are then."""
    one, two, watcher = crowd(), crowd(), crowd()
    create(one)
    one.sql("BEGIN")
    append(one, "e1")
    second = Waiting(two, watcher, lambda: call(two))
    one.sql("COMMIT")
    second.result()
    return number(one, ORPHANS)


def test_an_append_that_commits_meanwhile_is_deleted_too(crowd: Connect) -> None:
    assert delete_beside_an_append(crowd, delete) == 0


def test_control_one_statement_for_all_leaves_an_orphan(crowd: Connect) -> None:
    text = (
        "WITH s AS (UPDATE session_states SET deleted_at = now() WHERE deleted_at IS NULL)"
        " UPDATE session_events SET deleted_at = now() WHERE deleted_at IS NULL"
    )
    assert delete_beside_an_append(crowd, lambda client: client.sql(text)) == 1


def test_a_deletion_that_comes_late_spares_the_next_session(crowd: Connect) -> None:
    """Its first statement found no session; one is there when the others come."""
    one, two = crowd(), crowd()
    one.sql("BEGIN")
    one.run("delete_session", KEY)
    create(two)
    append(two, "e1")
    for name in DELETE[1:]:
        one.run(name, KEY)
    one.sql("COMMIT")
    assert number(one, "SELECT count(*) FROM session_events WHERE deleted_at IS NULL") == 1


def test_deleted_meanwhile_is_not_found_rather_than_malformed(crowd: Connect) -> None:
    one, two, watcher = crowd(), crowd(), crowd()
    create(one)
    one.sql("BEGIN")
    one.run("delete_session", KEY)
    args: dict[str, Value] = {**KEY, **NO_TTL, "delta": '{"a": "1"}', "removed": []}
    second = Waiting(two, watcher, lambda: two.run("update_state", args))
    one.sql("COMMIT")
    assert second.result() == []


# ---- summaries ----


def summarize(client: Client, cutoff: str, **more: Value) -> list[Row]:
    args: dict[str, Value] = {**KEY, "filter_key": "", "summary": f'{{"summary": "{cutoff}"}}'}
    return client.run("put_summary", {**args, "cutoff": cutoff, **more})


def test_a_summary_beside_a_deletion_is_no_orphan(crowd: Connect) -> None:
    one, two, watcher = crowd(), crowd(), crowd()
    create(one)
    one.sql("BEGIN")
    one.run("delete_session", KEY)
    second = Waiting(two, watcher, lambda: summarize(two, "2999-01-01"))
    one.run("delete_session_summaries", KEY)
    one.sql("COMMIT")
    assert second.result() == []
    assert number(one, "SELECT count(*) FROM session_summaries") == 0


def test_of_many_summaries_the_newest_stays(crowd: Connect) -> None:
    clients = [crowd() for _ in range(8)]
    create(clients[0])
    days = [f"29{i:02}-01-01" for i in range(80)]
    random.Random(1).shuffle(days)

    def work(i: int, client: Client) -> None:
        for day in days[i::8]:
            assert summarize(client, day)[0][0] in ("1", "2")

    at_once(clients, work)
    found = clients[0].sql("SELECT summary ->> 'summary' FROM session_summaries")
    assert found == [("2979-01-01",)]


def test_a_summary_of_what_was_cut_off_meanwhile_is_refused(crowd: Connect) -> None:
    one, two, watcher = crowd(), crowd(), crowd()
    create(one)
    append(one, "e1")
    append(one, "e2")
    ((last,),) = one.sql("SELECT max(id) FROM session_events")

    def store() -> list[Row]:
        two.sql("BEGIN")
        two.run("lock_session", KEY)
        rows = summarize(two, "2999-01-01", last_row=last)
        two.sql("COMMIT")
        return rows

    one.sql("BEGIN")
    args: dict[str, Value] = {**KEY, "event_id": "e1"}
    one.run("truncate_session", {**args, **NO_TTL})
    second = Waiting(two, watcher, store)
    one.run("truncate_summaries", args)
    one.run("truncate_events", args)
    one.sql("COMMIT")
    assert second.result()[0][0] == "3"
    assert number(one, "SELECT count(*) FROM session_summaries") == 0


# ---- state of applications and users ----


def put_unsorted(client: Client, keys: list[str]) -> None:
    values = ", ".join(f"('app', '{key}', 'x')" for key in keys)
    client.sql(
        f"INSERT INTO app_states (app_name, key, value) VALUES {values}"
        " ON CONFLICT (app_name, key) WHERE deleted_at IS NULL DO UPDATE SET value = EXCLUDED.value"
    )


def deadlocks(crowd: Connect, put: Callable[[Client, list[str]], None]) -> int:
    clients = [crowd() for _ in range(8)]

    def work(i: int, client: Client) -> int:
        dice, met = random.Random(i), 0
        for _ in range(25):
            keys = [f"k{n}" for n in range(60)]
            dice.shuffle(keys)
            try:
                put(client, keys)
            except ServerError as error:
                assert error.sqlstate == "40P01"
                met += 1
        return met

    return sum(at_once(clients, work))


def test_states_of_many_keys_never_deadlock(crowd: Connect) -> None:
    def put(client: Client, keys: list[str]) -> None:
        args: dict[str, Value] = {"app_name": "app", "keys": keys, "values": ["x"] * len(keys)}
        client.run("put_app_states", {**args, "ttl": None})
        client.run("put_user_states", {**args, "user_id": "user", "ttl": None})

    assert deadlocks(crowd, put) == 0


def test_control_keys_in_any_order_deadlock(crowd: Connect) -> None:
    assert deadlocks(crowd, put_unsorted) > 0
