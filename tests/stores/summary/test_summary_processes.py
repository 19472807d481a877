"""Durable summaries: processes that die, and several that share the work."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from database import Database
from waiting import eventually

SUMMARIES = "SELECT count(*) FROM session_summaries WHERE deleted_at IS NULL"
JOB = "SELECT state, attempt FROM session_summary_jobs"
JOBS = "SELECT count(*) FROM session_summary_jobs"
KILL_THE_OTHERS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


class Drivers:
    """Starts drivers on one database."""

    def __init__(self, program: Path, database: Database) -> None:
        self.program, self.database = program, database
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [self.program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "STELE_DSN": self.database.url},
        )
        self.running.append(process)
        return process

    def prepare(self) -> None:
        """Creates the tables."""
        assert self.finish(self.start("work")) == []

    def finish(self, process: subprocess.Popen[str]) -> list[str]:
        """Ends a worker; the sessions that it has summarized."""
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return [line.removeprefix("made ") for line in out.splitlines()]

    def is_killed(self, *arguments: str) -> None:
        process = self.start(*arguments)
        process.wait(timeout=300)  # its input stays open: nothing else ends it
        assert process.returncode == -signal.SIGKILL, process.communicate()

    def has_summaries(self, count: int) -> bool:
        return eventually(lambda: self.database.psql(SUMMARIES).strip() == str(count), 40)

    def add_sessions(self, *names: str) -> None:
        for name in names:
            event = f'{{"id": "e", "choices": [{{"message": {{"content": "Of {name}."}}}}]}}'
            self.database.psql(
                "INSERT INTO session_states (app_name, user_id, session_id, created_at)"
                f" VALUES ('a', 'u', '{name}', now() - interval '1 hour');"
                "INSERT INTO session_events (app_name, user_id, session_id, event)"
                f" VALUES ('a', 'u', '{name}', '{event}')"
            )

    def stop(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def drivers(build: Path, database: Database) -> Iterator[Drivers]:
    some = Drivers(build / "tests/stores/summary/summary_driver", database)
    some.prepare()
    yield some
    some.stop()


def test_a_process_killed_before_its_summary_is_followed_by_another(drivers: Drivers) -> None:
    drivers.add_sessions("s1")
    drivers.is_killed("ask", "s1")
    assert drivers.database.psql(SUMMARIES).strip() == "0"
    worker = drivers.start("work")
    assert drivers.has_summaries(1)
    assert drivers.finish(worker) == ["s1"]
    text = drivers.database.psql("SELECT summary ->> 'summary' FROM session_summaries")
    assert "Of s1." in text


def test_a_process_killed_in_its_summary_is_followed_by_another(drivers: Drivers) -> None:
    drivers.add_sessions("s1")
    drivers.is_killed("die", "s1")
    assert drivers.database.psql(JOB).strip() == "running|1"
    worker = drivers.start("work")
    assert drivers.has_summaries(1)
    assert drivers.finish(worker) == ["s1"]
    assert drivers.database.psql("SELECT state FROM session_summary_jobs").strip() == "done"


def enqueue(drivers: Drivers, names: list[str]) -> None:
    """Asks for summaries as a store does, in rows of the table."""
    for name in names:
        drivers.database.psql(
            "INSERT INTO session_summary_jobs (kind, dedupe_key, args) VALUES ('summary',"
            f""" '{name}', '{{"app_name": "a", "user_id": "u", "session_id": "{name}",
            "filter_key": "", "force": false}}')"""
        )


def stored_lines(drivers: Drivers) -> list[str]:
    sql = "SELECT summary ->> 'summary' FROM session_summaries WHERE deleted_at IS NULL"
    return [line for line in drivers.database.psql(sql).splitlines() if line != ""]


def is_frozen(process: subprocess.Popen[str]) -> bool:
    stat = Path(f"/proc/{process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


def freeze(drivers: Drivers, how: str) -> subprocess.Popen[str]:
    """A process that stands still in a summary of s1, having read its only event."""
    slow = drivers.start(how, "s1")
    assert eventually(lambda: is_frozen(slow))
    return slow


def add_newer_summary(drivers: Drivers) -> list[str]:
    """An event, and a summary with it by another process; its lines."""
    drivers.database.psql(
        "INSERT INTO session_events (app_name, user_id, session_id, event) VALUES ('a', 'u', 's1',"
        """ '{"id": "e2", "choices": [{"message": {"content": "Said since."}}]}')"""
    )
    enqueue(drivers, ["s1"])
    worker = drivers.start("work")
    assert drivers.has_summaries(1)
    assert drivers.finish(worker) == ["s1"]
    newer = stored_lines(drivers)
    assert "Of s1." in newer[0] and "Said since." in newer[-1]
    return newer


def test_a_slow_process_overwrites_nothing_newer(drivers: Drivers) -> None:
    drivers.add_sessions("s1")
    slow = freeze(drivers, "slow")
    newer = add_newer_summary(drivers)
    slow.send_signal(signal.SIGCONT)
    assert drivers.finish(slow) == ["s1"]  # it has made one, too
    assert stored_lines(drivers) == newer


def test_a_worker_that_lost_its_job_stores_nothing(drivers: Drivers) -> None:
    drivers.add_sessions("s1")
    slow = freeze(drivers, "stop")
    worker = drivers.start("work")
    assert drivers.has_summaries(1)  # the lease of the other is over
    assert drivers.finish(worker) == ["s1"]
    assert drivers.database.psql(JOB).strip() == "done|2"
    drivers.database.psql("DELETE FROM session_summaries")  # nor in its place
    slow.send_signal(signal.SIGCONT)
    assert drivers.finish(slow) == ["s1"]
    assert stored_lines(drivers) == []
    assert drivers.database.psql(JOB).strip() == "done|2"


def test_a_slow_worker_leaves_no_orphan(drivers: Drivers) -> None:
    drivers.add_sessions("s1")
    slow = freeze(drivers, "stop")
    drivers.database.psql(
        "DELETE FROM session_events; UPDATE session_states SET deleted_at = now()"
    )
    slow.send_signal(signal.SIGCONT)
    assert eventually(lambda: "running" not in drivers.database.psql(JOB))
    assert drivers.finish(slow) == ["s1"]
    assert stored_lines(drivers) == []


def test_no_crash_comes_between_an_append_and_its_job(drivers: Drivers) -> None:
    drivers.add_sessions("s1")
    drivers.is_killed("append", "s1")
    events = drivers.database.psql("SELECT count(*) FROM session_events").strip()
    assert (events, drivers.database.psql(JOBS).strip()) == ("2", "1")
    worker = drivers.start("work")
    assert drivers.has_summaries(1)
    assert drivers.finish(worker) == ["s1"]
    text = drivers.database.psql("SELECT summary ->> 'summary' FROM session_summaries")
    assert "Said at last." in text


def test_eight_processes_share_the_work(drivers: Drivers) -> None:
    names = [f"s{i:02}" for i in range(40)]
    drivers.add_sessions(*names)
    enqueue(drivers, names)
    workers = [drivers.start("work") for _ in range(8)]
    assert drivers.has_summaries(40)
    made = [name for worker in workers for name in drivers.finish(worker)]
    assert sorted(made) == names  # each by one of them


def test_nothing_is_lost_when_backends_are_killed(drivers: Drivers) -> None:
    names = [f"s{i:02}" for i in range(30)]
    drivers.add_sessions(*names)
    workers = [drivers.start("work") for _ in range(2)]
    killed = 0
    for name in names:
        enqueue(drivers, [name])
        killed += int(drivers.database.psql(KILL_THE_OTHERS))
    assert killed > 0
    assert drivers.has_summaries(30)
    for worker in workers:
        drivers.finish(worker)
    once = "SELECT count(DISTINCT session_id) FROM session_summaries WHERE deleted_at IS NULL"
    assert drivers.database.psql(once).strip() == "30"
