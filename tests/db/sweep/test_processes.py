"""Sweepers in eight processes, a pass over very many sessions, and a writer beside it."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

import pytest
from cluster import psql
from database import Database
from stele.ddl_text import DdlOptions, optional_indexes
from storequery import Queries

PROCESSES = 8
EXPIRED = 30_000
LIVING = 2_000

# Each session has two events, a track event and a summary.
FILL = """
    INSERT INTO session_states (app_name, user_id, session_id, expires_at)
    SELECT 'app', 'user' || i % 100, 'session' || i,
           timezone('UTC', now())
               + CASE WHEN i <= {expired} THEN i * interval '-1 ms' ELSE '1 h' END
    FROM generate_series(1, {all}) AS i;
    INSERT INTO session_events (app_name, user_id, session_id, event)
    SELECT app_name, user_id, session_id, '{{}}' FROM session_states, generate_series(1, {events});
    ANALYZE;
"""
ORPHANS = """
    SELECT count(*) FROM session_events AS e
    WHERE e.deleted_at IS NULL AND NOT EXISTS (SELECT FROM session_states AS s
        WHERE (s.app_name, s.user_id, s.session_id) = (e.app_name, e.user_id, e.session_id)
          AND s.deleted_at IS NULL)
"""


def fill(database: Database, top: Path, expired: int, living: int, events: int) -> None:
    tables = Queries(top / "schema/sessions.yaml")
    swept = (".sweep", ".deleted")
    wanted = frozenset(one for one in optional_indexes(tables.module) if one.endswith(swept))
    database.psql(tables.ddl(DdlOptions(optional=wanted)))
    database.psql(FILL.format(expired=expired, all=expired + living, events=events))


def start(build: Path, database: Database, policy: str) -> subprocess.Popen[str]:
    program = build / "tests/db/sweep/sweep_driver"
    return subprocess.Popen(
        [program, database.url, policy], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def outcome(process: subprocess.Popen[str]) -> dict[str, int]:
    out, why = process.communicate(timeout=600)
    assert process.returncode == 0, why
    found: dict[str, int] = json.loads(out)
    return found


def count(database: Database, sql: str) -> int:
    return int(database.psql(sql).strip())


@pytest.mark.parametrize("policy", ["soft", "hard"])
def test_eight_processes(build: Path, top: Path, database: Database, policy: str) -> None:
    fill(database, top, EXPIRED, LIVING, 2)
    found = [
        outcome(process) for process in [start(build, database, policy) for _ in range(PROCESSES)]
    ]
    assert sum(one["expired"] for one in found) == EXPIRED
    assert sum(one["followed"] for one in found) == 2 * EXPIRED
    assert sum(one["failures"] for one in found) == 0
    assert count(database, "SELECT count(*) FROM session_states WHERE deleted_at IS NULL") == LIVING
    assert count(database, ORPHANS) == 0
    living = "SELECT count(*) FROM session_events WHERE deleted_at IS NULL"
    assert count(database, living) == 2 * LIVING
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert count(database, deadlocks) == 0
    if policy == "hard":
        assert count(database, "SELECT count(*) FROM session_states") == LIVING


def test_three_hundred_thousand_sessions_in_one_pass(
    build: Path, top: Path, database: Database
) -> None:
    """The peer sends three parameters for each session, and fails beyond 21,844 of them."""
    fill(database, top, 300_000, 1000, 1)
    found = outcome(start(build, database, "hard"))
    assert found["expired"] == found["followed"] == 300_000
    assert found["failures"] == 0
    assert count(database, "SELECT count(*) FROM session_states") == 1000
    assert count(database, "SELECT count(*) FROM session_events") == 1000


class Writer(threading.Thread):
    """Touches expired sessions, one after the other, and notes the longest time that took."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.longest_ms = 0.0

    def run(self) -> None:
        body = f"""
            DO $$ DECLARE t timestamptz; longest float8 := 0; n int := 0;
            BEGIN
                LOOP
                    t := clock_timestamp();
                    UPDATE session_states SET state = '{{}}'
                    WHERE session_id = 'session' || (1 + n * 7919 % {EXPIRED});
                    longest := greatest(longest, extract(epoch FROM clock_timestamp() - t) * 1000);
                    COMMIT;
                    n := n + 1;
                    EXIT WHEN EXISTS (SELECT FROM pg_class WHERE relname = 'enough') OR n > 100000;
                END LOOP;
                RAISE EXCEPTION 'longest %', longest;
            END $$
        """
        try:
            psql(self.url, body)
        except Exception as error:
            self.longest_ms = float(str(error).split("longest ")[1].split()[0])


def longest_write(database: Database, sweep: str, build: Path) -> float:
    writer = Writer(database.url)
    writer.start()
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%longest float8%'"
        " AND datname = current_database() AND pid <> pg_backend_pid()"
    )
    while count(database, running) == 0:
        assert writer.is_alive()
    if sweep:
        database.psql(sweep)
    else:
        assert outcome(start(build, database, "soft"))["expired"] > 0
    database.psql("CREATE TABLE enough ()")
    writer.join()
    database.psql("DROP TABLE enough")
    return writer.longest_ms


def test_a_writer_hardly_waits(build: Path, top: Path, database: Database) -> None:
    """Control: one statement for all rows, as the peer has it, holds a writer up to its end."""
    index = "CREATE INDEX by_session ON session_states (session_id)"
    fill(database, top, EXPIRED, 0, 0)
    database.psql(index)
    peers = (
        "UPDATE session_states SET deleted_at = now()"
        " WHERE expires_at <= timezone('UTC', now()) AND deleted_at IS NULL"
    )
    for _ in range(5):  # a machine that stands still holds any writer up
        ours = longest_write(database, "", build)
        database.psql("UPDATE session_states SET deleted_at = NULL")
        theirs = longest_write(database, peers, build)
        database.psql("UPDATE session_states SET deleted_at = NULL")
        print(f"longest write: {ours:.1f} ms beside {theirs:.1f} ms")
        if ours < theirs / 2:
            return
    raise AssertionError("writers wait as long as beside one statement for all rows")
