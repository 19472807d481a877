"""Faults under traffic: killed, frozen, restarted and demoted servers.

Each test runs pool_driver beside a server of its own, harms the server, and looks at the report:
every call ends by its deadline and 100 ms, traffic comes back within 2 s of the server (5 s after a
change of primary), and no acknowledged row is missing.

Sizes: 8 threads on 5 connections for 4 to 6 s each; 50 threads for the server that is down.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import signal
import subprocess
import threading
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


@dataclass
class Traffic:
    """A running driver, and after `finish` its report."""

    process: subprocess.Popen[str]
    report: dict[str, Any] = field(default_factory=dict)

    def finish(self) -> None:
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        self.report = json.loads(out)
        print({k: v for k, v in self.report.items() if k not in ("slices", "attempts")})

    def first_success_after(self, moment: float) -> float:
        """Seconds from `moment` to the next successful call."""
        begin: float = moment - self.report["start_ns"] / 1e9
        slices: list[int] = self.report["slices"]
        for number, count in enumerate(slices):
            if count and number * 0.01 >= begin:
                return number * 0.01 - begin
        return float("inf")

    def check_kept_promises(self) -> None:
        assert self.report["over_ms"] <= GRACE_MS
        assert self.report["lost"] == 0
        assert self.report["open"] <= self.report["max"]
        assert self.report["acked"] > 0


@contextlib.contextmanager
def traffic(
    build: Path, dsn: str, seconds: int, *, threads: int = 8, most: int = 5, call_ms: int = CALL_MS
) -> Iterator[Traffic]:
    driver = build / "tests/db/pool_driver"
    numbers = [str(n) for n in (seconds, threads, most, call_ms)]
    with subprocess.Popen([driver, dsn, *numbers], stdout=subprocess.PIPE, text=True) as process:
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


def test_a_backend_is_killed_every_50_ms(build: Path, own: Cluster) -> None:
    over = threading.Event()

    def kill() -> None:
        own.psql(
            "DO $$ BEGIN FOR i IN 1..60 LOOP PERFORM pg_stat_clear_snapshot(); "
            f"PERFORM pg_terminate_backend(pid) {OURS} ORDER BY random() LIMIT 1; "
            "PERFORM pg_sleep(0.05); END LOOP; END $$"
        )
        over.set()

    with traffic(build, own.url(), 5) as t:
        killer = threading.Thread(target=kill)
        killer.start()
        killer.join()
        calm = time.monotonic()
        t.finish()
    assert over.is_set()
    t.check_kept_promises()
    assert t.report["created"] > 50, "hardly any was killed"
    assert t.first_success_after(calm) <= BACK_SECONDS


def test_the_server_restarts_without_warning(build: Path, own: Cluster) -> None:
    with traffic(build, own.url(), 6) as t:
        assert eventually(lambda: own.psql("SELECT EXISTS (SELECT FROM traffic)") == "t")
        own.restart("immediate")
        back = time.monotonic()
        t.finish()
    t.check_kept_promises()
    assert t.first_success_after(back) <= BACK_SECONDS


def test_a_backend_dies_and_takes_all_with_it(build: Path, own: Cluster) -> None:
    with traffic(build, own.url(), 5) as t:
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
        t.finish()
    t.check_kept_promises()
    assert t.first_success_after(back) <= BACK_SECONDS


def rows_stored(own: Cluster) -> int:
    return int(own.psql("SELECT count(*) FROM traffic"))


def grows(own: Cluster, before: int) -> bool:
    return rows_stored(own) > before


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
    with traffic(build, own.url(), 5, call_ms=1000) as t:
        assert eventually(lambda: len(backend_pids(own)) == 5)
        victim = freeze_one(own)
        frozen = time.monotonic()
        try:
            t.finish()
        finally:
            os.kill(victim, signal.SIGCONT)
    t.check_kept_promises()
    begin = int((frozen - t.report["start_ns"] / 1e9) * 100) + 1
    for second in range(begin, len(t.report["slices"]) - 100, 100):
        assert sum(t.report["slices"][second : second + 100]) > 0, "traffic stood still"
    assert t.report["statuses"].get("STELE_E_CONNECT", 0) == 0


def test_a_server_that_is_down_is_not_stormed(build: Path, own: Cluster) -> None:
    """50 callers, 6 s without a server: refused at once, with few attempts to connect.

    Back it may take as long as the longest backoff, 5 s.
    """
    with traffic(build, own.url(), 12, threads=50) as t:
        assert eventually(lambda: own.psql("SELECT EXISTS (SELECT FROM traffic)") == "t")
        own.stop("immediate")
        stopped = time.monotonic()
        assert eventually(lambda: time.monotonic() - stopped > 6)
        own.start()
        back = time.monotonic()
        t.finish()
    t.check_kept_promises()
    assert t.first_success_after(back) <= 5.2
    attempts: list[int] = t.report["attempts"]
    begin = int((stopped - t.report["start_ns"] / 1e9) * 10) + 1
    down = attempts[begin : begin + 58]
    assert attempts[-1] > 0
    # The first second or so takes the short steps of the backoff; from the third on it is steady.
    assert down[-1] - down[0] <= 25
    assert down[-1] - down[25] <= 2 * 3.3
    assert t.report["statuses"]["STELE_E_CONNECT"] > 1000
    assert t.report["refusal_ms"] < 500


def test_a_frozen_postmaster_leaves_calls_their_deadlines(build: Path, own: Cluster) -> None:
    """Cancel requests hang there; neither callers nor the place of a connection wait for ever."""
    postmaster = postmaster_pid(own.folder)
    assert postmaster is not None
    if not may_signal(postmaster):
        pytest.skip("the server runs as another user")
    with traffic(build, own.url(), 4, call_ms=500) as t:
        assert eventually(lambda: len(backend_pids(own)) == 5)
        victims = backend_pids(own)
        os.kill(postmaster, signal.SIGSTOP)
        for pid in victims:
            os.kill(pid, signal.SIGSTOP)
        stopped = time.monotonic()
        assert eventually(lambda: time.monotonic() - stopped > 1.5)
        for pid in [*victims, postmaster]:
            os.kill(pid, signal.SIGCONT)
        back = time.monotonic()
        t.finish()
    t.check_kept_promises()
    assert t.first_success_after(back) <= BACK_SECONDS


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
        with traffic(build, hosts, 6) as t:
            assert eventually(lambda: own.psql("SELECT EXISTS (SELECT FROM traffic)") == "t")
            make_writable(own, False)
            make_writable(other, True)
            promoted = time.monotonic()
            t.finish()
        stored = sum(int(c.psql("SELECT count(*) FROM traffic")) for c in (own, other))
        assert int(other.psql("SELECT count(*) FROM traffic")) > 0
    assert stored >= t.report["acked"] > 0
    assert t.report["over_ms"] <= GRACE_MS
    assert t.first_success_after(promoted) <= 5
    # Once for each connection, not again and again.
    assert t.report["statuses"].get("STELE_E_READ_ONLY", 0) <= 2 * t.report["max"]


def test_a_role_that_may_no_longer_log_in(build: Path, database: Database) -> None:
    """Told at once as what it is, and tried rarely."""
    role = f"pool_role_{os.getpid()}"
    database.psql(f"CREATE ROLE {role} LOGIN; CREATE TABLE traffic (id bigint)")
    database.psql(f"GRANT ALL ON traffic TO {role}")
    mark = "&" if "?" in database.url else "?"
    try:
        with traffic(build, f"{database.url}{mark}user={role}", 3) as t:
            database.psql(f"ALTER ROLE {role} NOLOGIN")
            database.psql(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
            )
            t.finish()
    finally:
        database.psql(f"DROP TABLE traffic; DROP ROLE {role}")
    assert t.report["statuses"]["STELE_E_AUTH"] > 0
    assert t.report["refusal_ms"] < 1000
    assert t.report["attempts"][-1] <= 10
