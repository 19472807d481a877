"""Faults under traffic: killed, frozen, restarted and demoted servers.

Each test runs pool_driver beside a server of its own, harms the server, and looks at the report:
every call ends by its deadline and 100 ms, traffic comes back within 2 s of the server (5 s after a
change of primary), and no acknowledged row is missing.

Those are promises of the pool, not of the machine: what a client without a pool took for the same
at the same time comes on top, and by how much a thread that only sleeps was woken too late.

Sizes: 8 threads on 5 connections for 3 to 6 s each; 50 threads for the server that is down.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster, postmaster_pid
from database import Database
from waiting import eventually

GRACE_MS = 100
BACK_SECONDS = 2.0
CALL_MS = 2000
# One call is woken several times: by the server, by the pool, by its deadline.
WAKINGS = 5


@dataclass
class Traffic:
    """A running driver, and after `finish` its report."""

    process: subprocess.Popen[str]
    report: dict[str, Any] = field(default_factory=dict)

    def finish(self) -> None:
        """Ends the traffic and takes the report."""
        out, _ = self.process.communicate(timeout=120)
        assert self.process.returncode == 0
        self.report = json.loads(out)
        long = ("slices", "attempts", "control")
        print({k: v for k, v in self.report.items() if k not in long})
        print({"control_seconds": self.control_seconds(), "slack_ms": self.slack_ms()})

    def since_start(self, moment: float) -> float:
        start: float = self.report["start_ns"] / 1e9
        return moment - start

    def slack_ms(self) -> float:
        """What the machine may add to a call."""
        stall: float = self.report["stall_ms"]
        return WAKINGS * stall

    def control_seconds(self) -> float:
        """The longest that a client without a pool took to connect and write, or to be refused."""
        longest: float = max(ended - began for began, ended, _ in self.report["control"])
        return longest

    def check_refused_at_once(self, most_ms: float) -> None:
        bound = most_ms + 1000 * self.control_seconds() + self.slack_ms()
        assert self.report["refusal_ms"] < bound

    def success_times(self) -> list[float]:
        """Ends of the slices of time in which calls succeeded: not before they did."""
        return [(number + 1) * 0.01 for number, count in enumerate(self.report["slices"]) if count]

    def check_back_after(self, moment: float, most_seconds: float = BACK_SECONDS) -> None:
        """Calls succeed again soon after a client without a pool would have come through."""
        begin = self.since_start(moment)
        came_through = [e for b, e, could in self.report["control"] if could and b >= begin]
        took = min((t - begin for t in self.success_times() if t >= begin), default=float("inf"))
        assert came_through, "not even without a pool"
        assert took <= most_seconds + came_through[0] - begin + self.slack_ms() / 1000

    def attempts_between(self, begin: float, end: float) -> int:
        """Attempts to connect that failed between two moments."""
        counts: list[tuple[float, int]] = self.report["attempts"]
        before = max((n for t, n in counts if t <= self.since_start(begin)), default=0)
        after = max((n for t, n in counts if t <= self.since_start(end)), default=0)
        return after - before

    def check_kept_promises(self) -> None:
        assert self.report["over_ms"] <= GRACE_MS + self.slack_ms()
        assert self.report["lost"] == 0
        assert self.report["open"] <= self.report["max"]
        assert self.report["acked"] > 0


@contextlib.contextmanager
def traffic(
    build: Path, dsn: str, *, threads: int = 8, most: int = 5, call_ms: int = CALL_MS
) -> Iterator[Traffic]:
    driver = build / "tests/db/pool_driver"
    numbers = [str(n) for n in (threads, most, call_ms)]
    with subprocess.Popen(
        [driver, dsn, *numbers], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield Traffic(process)
        finally:
            process.kill()


@pytest.fixture
def own() -> Iterator[Cluster]:
    """A server that a test may harm, with the driver's table."""
    with Cluster({"max_connections": "60"}) as cluster:
        cluster.psql("CREATE TABLE traffic (id bigint)")
        yield cluster


OURS = "FROM pg_stat_activity WHERE application_name = 'stele'"


def backend_pids(cluster: Cluster) -> list[int]:
    return [int(pid) for pid in cluster.psql(f"SELECT pid {OURS}").split()]


def may_signal(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return False
    return True


def rows_stored(own: Cluster) -> int:
    """By callers of the pool."""
    return int(own.psql("SELECT count(*) FROM traffic WHERE id >= 0"))


def grows(own: Cluster, before: int) -> bool:
    return rows_stored(own) > before


def goes_on(own: Cluster) -> bool:
    """Whether more rows come in, within as long as that may take."""
    return eventually(functools.partial(grows, own, rows_stored(own)))


def let_pass(seconds: float) -> float:
    """Goes on for so long; the moment at which it did begin."""
    began = time.monotonic()
    assert eventually(lambda: time.monotonic() - began > seconds)
    return began


def test_a_backend_is_killed_every_50_ms(build: Path, own: Cluster) -> None:
    with traffic(build, own.url()) as t:
        own.psql(
            "DO $$ DECLARE n int := 0; BEGIN WHILE n < 60 LOOP PERFORM pg_stat_clear_snapshot(); "
            f"PERFORM pg_terminate_backend(pid, 60000) {OURS} ORDER BY random() LIMIT 1; "
            "IF FOUND THEN n := n + 1; END IF; PERFORM pg_sleep(0.05); END LOOP; END $$"
        )
        calm = time.monotonic()
        assert goes_on(own)
        let_pass(1)
        t.finish()
    t.check_kept_promises()
    assert t.report["created"] > 50, "hardly any was killed"
    t.check_back_after(calm)


def test_the_server_restarts_without_warning(build: Path, own: Cluster) -> None:
    with traffic(build, own.url()) as t:
        assert goes_on(own)
        own.restart("immediate")
        back = time.monotonic()
        assert goes_on(own)
        let_pass(1)
        t.finish()
    t.check_kept_promises()
    t.check_back_after(back)


def test_a_backend_dies_and_takes_all_with_it(build: Path, own: Cluster) -> None:
    with traffic(build, own.url()) as t:
        assert eventually(lambda: len(backend_pids(own)) == 5)
        victim = backend_pids(own)[0]
        if not may_signal(victim):
            pytest.skip("the server runs as another user")
        os.kill(victim, signal.SIGKILL)
        assert eventually(lambda: not Path(f"/proc/{victim}").exists())

        def answers() -> bool:
            try:
                return own.psql("SELECT 1") == "1"
            except Exception:
                return False

        assert eventually(answers)
        back = time.monotonic()
        assert goes_on(own)
        let_pass(1)
        t.finish()
    t.check_kept_promises()
    t.check_back_after(back)


def freeze_one(own: Cluster) -> int:
    """Stops a backend that holds nothing: one with a lock of the server's would stop all others."""
    for victim in itertools.cycle(backend_pids(own)):
        if not may_signal(victim):
            pytest.skip("the server runs as another user")
        os.kill(victim, signal.SIGSTOP)
        if eventually(functools.partial(grows, own, rows_stored(own)), 0.3):
            return victim
        os.kill(victim, signal.SIGCONT)
    raise AssertionError("there is no backend")


def test_a_frozen_backend_does_not_exhaust_the_pool(build: Path, own: Cluster) -> None:
    """Its call ends by the deadline; the other four connections go on; the place comes back."""
    with traffic(build, own.url(), call_ms=1000) as t:
        assert eventually(lambda: len(backend_pids(own)) == 5)
        victim = freeze_one(own)
        try:
            frozen = let_pass(4)
            t.finish()
        finally:
            os.kill(victim, signal.SIGCONT)
    t.check_kept_promises()
    served = [s for s in t.success_times() if s >= t.since_start(frozen)]
    gap = max(later - earlier for earlier, later in itertools.pairwise(served))
    assert gap <= 1 + t.control_seconds() + t.slack_ms() / 1000, "traffic stood still"
    assert t.report["statuses"].get("STELE_E_CONNECT", 0) == 0


def test_a_server_that_is_down_is_not_stormed(build: Path, own: Cluster) -> None:
    """50 callers, 6 s without a server: refused at once, with few attempts to connect.

    Back it may take as long as the longest backoff, 5 s.
    """
    with traffic(build, own.url(), threads=50) as t:
        assert goes_on(own)
        own.stop("immediate")
        stopped = let_pass(6)
        own.start()
        back = time.monotonic()
        assert goes_on(own)
        let_pass(1)
        t.finish()
    t.check_kept_promises()
    t.check_back_after(back, 5.2)
    # The first second or so takes the short steps of the backoff; from the third on it is steady.
    assert t.report["attempts"][-1][1] > 0
    assert t.attempts_between(stopped, stopped + 5.9) <= 25
    assert t.attempts_between(stopped + 2.6, stopped + 5.9) <= 2 * 3.3
    assert t.report["statuses"]["STELE_E_CONNECT"] > 1000
    t.check_refused_at_once(500)


def test_a_frozen_postmaster_leaves_calls_their_deadlines(build: Path, own: Cluster) -> None:
    """Cancel requests hang there; neither callers nor the place of a connection wait for ever."""
    postmaster = postmaster_pid(own.folder)
    assert postmaster is not None
    if not may_signal(postmaster):
        pytest.skip("the server runs as another user")
    with traffic(build, own.url(), call_ms=500) as t:
        assert eventually(lambda: len(backend_pids(own)) == 5)
        victims = backend_pids(own)
        os.kill(postmaster, signal.SIGSTOP)
        for pid in victims:
            os.kill(pid, signal.SIGSTOP)
        let_pass(1.5)
        for pid in [*victims, postmaster]:
            os.kill(pid, signal.SIGCONT)
        back = time.monotonic()
        assert goes_on(own)
        let_pass(1)
        t.finish()
    t.check_kept_promises()
    t.check_back_after(back)


def make_writable(cluster: Cluster, writable: bool) -> None:
    value = "off" if writable else "on"
    cluster.psql(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
    cluster.psql("SELECT pg_reload_conf()")
    assert eventually(lambda: cluster.psql("SHOW default_transaction_read_only") == value)


def test_writes_follow_the_primary(build: Path, own: Cluster) -> None:
    """Two servers change places; the sessions on the old one live on, and must not be kept."""
    with Cluster({"max_connections": "60"}) as other:
        other.psql("CREATE TABLE traffic (id bigint)")
        make_writable(other, False)
        hosts = f"host={own.folder},{other.folder} dbname=stele user=stele"
        with traffic(build, hosts) as t:
            assert goes_on(own)
            make_writable(own, False)
            make_writable(other, True)
            promoted = time.monotonic()
            assert goes_on(other)
            let_pass(2)
            t.finish()
        stored = rows_stored(own) + rows_stored(other)
        assert rows_stored(other) > 0
    assert stored >= t.report["acked"] > 0
    assert t.report["over_ms"] <= GRACE_MS + t.slack_ms()
    t.check_back_after(promoted, 5)
    # Once for each connection, not again and again.
    assert t.report["statuses"].get("STELE_E_READ_ONLY", 0) <= 2 * t.report["max"]


def test_a_role_that_may_no_longer_log_in(build: Path, database: Database) -> None:
    """Told at once as what it is, and tried rarely."""
    role = f"pool_role_{os.getpid()}"
    database.psql(f"CREATE ROLE {role} LOGIN; CREATE TABLE traffic (id bigint)")
    database.psql(f"GRANT ALL ON traffic TO {role}")
    mark = "&" if "?" in database.url else "?"
    try:
        with traffic(build, f"{database.url}{mark}user={role}") as t:
            database.psql(f"ALTER ROLE {role} NOLOGIN")
            database.psql(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
                f" WHERE usename = '{role}'"
            )
            gone = let_pass(3)
            t.finish()
    finally:
        database.psql(f"DROP TABLE traffic; DROP ROLE {role}")
    assert t.report["statuses"]["STELE_E_AUTH"] > 0
    t.check_refused_at_once(1000)
    assert t.attempts_between(gone, gone + 3) <= 10
