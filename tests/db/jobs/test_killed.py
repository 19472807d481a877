"""Processes with workers that are killed every second: no job is lost, no effect is kept twice.

STELE_KILLED_JOBS sets the number of jobs: 100000 is the size that the figures in the documentation
were taken with.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from database import Database
from stele.ddl_text import DdlOptions
from storequery import Queries
from waiting import eventually

JOBS = int(os.environ.get("STELE_KILLED_JOBS", "6000"))
PROCESSES = 3
LIMIT_SECONDS = 240 + JOBS // 25
RECOVERY_SECONDS = 6  # a lease of one second, and five

FILL = f"""
    INSERT INTO errands (kind, dedupe_key, max_attempts)
    SELECT CASE WHEN i % 5 = 0 THEN 'plain' ELSE 'effect' END, 'k' || i, 100000
    FROM generate_series(1, {JOBS}) AS i;
    ANALYZE errands;
"""
# What enqueuing does to rows that are there.
AGAIN = """
    UPDATE errands SET gen = gen + 1, finished_at = NULL, run_at = now(),
        state = CASE state WHEN 'running' THEN state ELSE 'available' END,
        attempt = CASE state WHEN 'available' THEN attempt ELSE 0 END
    WHERE id IN (SELECT 1 + floor(random() * {jobs})::int8 FROM generate_series(1, 20))
"""
LEFT = "SELECT count(*) FROM errands WHERE state <> 'done'"


def count(database: Database, sql: str) -> int:
    return int(database.psql(sql).strip())


def start(build: Path, database: Database) -> subprocess.Popen[str]:
    program = build / "tests/db/jobs/jobs_driver"
    process = subprocess.Popen([program, database.url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@contextmanager
def workers(build: Path, database: Database) -> Iterator[list[subprocess.Popen[str]]]:
    running = [start(build, database) for _ in range(PROCESSES)]
    try:
        yield running
    finally:
        for process in running:
            kill(process)


@pytest.fixture
def empty(top: Path, database: Database) -> Database:
    database.psql(Queries(top / "tests/db/jobs/work.yaml").ddl(DdlOptions()))
    return database


@pytest.fixture
def queue(empty: Database) -> Database:
    empty.psql(FILL)
    return empty


def test_no_job_is_lost_and_no_effect_kept_twice(build: Path, queue: Database) -> None:
    kills = again = 0
    end = time.monotonic() + LIMIT_SECONDS
    next_kill = time.monotonic() + 1
    with workers(build, queue) as running:
        while count(queue, LEFT) > 0 or kills < 3:
            assert time.monotonic() < end, queue.psql(
                "SELECT state, count(*) FROM errands GROUP BY 1"
            )
            if time.monotonic() >= next_kill:
                kill(running[kills % PROCESSES])
                running[kills % PROCESSES] = start(build, queue)
                kills += 1
                next_kill = time.monotonic() + 1
            if again < JOBS // 50:
                queue.psql(AGAIN.format(jobs=JOBS))
                again += 1
    assert kills >= 3 and again > 0
    assert (
        count(queue, "SELECT count(*) FROM errands WHERE state = 'done' AND done_gen = gen") == JOBS
    )
    twice = "SELECT count(*) FROM (SELECT FROM effects GROUP BY job, gen HAVING count(*) > 1) AS e"
    assert count(queue, twice) == 0
    lost = """
        SELECT count(*) FROM errands AS j WHERE kind = 'effect' AND NOT EXISTS
            (SELECT FROM effects AS e WHERE e.job = j.id AND e.gen = j.gen)
    """
    assert count(queue, lost) == 0
    newer = (
        "SELECT count(*) FROM effects AS e JOIN errands AS j ON j.id = e.job WHERE e.gen > j.gen"
    )
    assert count(queue, newer) == 0
    print(f"{JOBS} jobs, {kills} kills, {count(queue, 'SELECT sum(gen) FROM errands')} generations")


def recovery_seconds(build: Path, queue: Database) -> float:
    """How long it takes to end ten jobs that somebody claimed and left."""
    queue.psql(
        "TRUNCATE effects; UPDATE errands SET state = 'running', attempt = 1, token = 1,"
        " lease_until = clock_timestamp() + interval '1 s'"
    )
    began = time.monotonic()
    with workers(build, queue):
        assert eventually(lambda: count(queue, LEFT) == 0)
        took = time.monotonic() - began
    assert count(queue, "SELECT count(*) FROM errands WHERE attempt >= 2") == 10
    return took


def test_what_a_killed_process_had_is_taken_over_in_time(build: Path, queue: Database) -> None:
    queue.psql("DELETE FROM errands WHERE id > 10")
    # A machine that stands still does not do so five times just then.
    assert any(recovery_seconds(build, queue) < 1 + RECOVERY_SECONDS for _ in range(5))


def test_who_stands_still_in_the_last_transaction_keeps_no_job(
    build: Path, empty: Database
) -> None:
    """The worker holds the row, and its host answers for it: only the time of the job ends that."""
    with workers(build, empty):
        empty.psql("INSERT INTO errands (kind, dedupe_key, max_attempts) VALUES ('freeze', 'k', 9)")
        assert eventually(lambda: count(empty, LEFT) == 0)
    assert count(empty, "SELECT attempt FROM errands") >= 2
    assert count(empty, "SELECT count(*) FROM effects") == 1
