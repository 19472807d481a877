"""The sessions store beside five round trips by hand; docs/performance.md names the floors."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from frame import (
    INSTRUCTION_RUNS,
    SETTINGS,
    TIMED_MS,
    BenchError,
    Case,
    Line,
    Runner,
    compare_times,
    line,
    nanoseconds,
    per_second,
    say_counts,
    tables,
)
from slow_disk import SlowDisk

# Those that stele_sessions_open() makes.
OPTIONAL = "session_events.user_message,session_states.tombstone,*.deleted"
# Appends are acknowledged when they are durable, the floors' too. No checkpoint comes in between.
DURABLE = {**SETTINGS, "synchronous_commit": "on", "checkpoint_timeout": "1h"}
DELAY_US = 500  # each way
FAR_MS = 1000  # a floor's operation takes six
LONG_EVENTS = 1000
LONG_READS = 5


def case(name: str, *options: str) -> Case:
    return Case("sessions", name, options)


@contextlib.contextmanager
def far_away(run: Runner) -> Iterator[Runner]:
    """The same server, with a network in between."""
    with tempfile.TemporaryDirectory(prefix="stele-far-") as folder:
        sockets = [str(f / ".s.PGSQL.5432") for f in (Path(folder), run.cluster.folder)]
        command = [str(run.programs / "bench-delay-proxy"), *sockets, str(DELAY_US)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as proxy:
            assert proxy.stdout is not None
            if proxy.stdout.readline() != b"ready\n":
                raise BenchError("the delay proxy does not start")
            far = Runner(run.programs, run.cluster, run.say)
            near = str(run.cluster.folder)
            far.env["STELE_DSN"] = run.env["STELE_DSN"].replace(near, folder)
            yield far


def fill(run: Runner) -> None:
    run.prepare("sessions.sql")


def bench_sessions(run: Runner) -> Iterator[Line]:
    """Reads come first: appends make the tables grow."""
    fill(run)
    yield from read_local(run)
    with far_away(run) as far:
        trip = nanoseconds(far.timed(case("ping"), 1)) / 1e6
        run.say(f"  through the proxy SELECT 1 takes {trip:.2f} ms")
        yield compared(far, "get20-rtt1ms", "get", 1, ms=FAR_MS)
        yield compared(far, "append-rtt1ms", "append", 1, ms=FAR_MS)
    say_commit(run, "here")
    for threads in (1, 8, 32):
        yield compared(run, "append-local", "append", threads)
    with SlowDisk(run.programs, DURABLE) as disk:
        disk.psql(tables(OPTIONAL))
        slow = Runner(run.programs, disk, run.say)
        fill(slow)
        yield from append_slowly(slow)


def say_commit(run: Runner, where: str) -> None:
    """Where the disk is busy with others' work, appends show little else."""
    took = nanoseconds(run.timed(case("commit"), 1)) / 1e6
    run.say(f"  {where} a commit takes {took:.2f} ms")


def compared(
    run: Runner,
    name: str,
    what: str,
    threads: int,
    ours: str = "",
    *options: str,
    ms: int = TIMED_MS,
) -> Line:
    mine = case(ours or f"stele-{what}", *options)
    return compare_times(run, name, mine, case(what, *options), threads, "ops/s", per_second(), ms)


def read_local(run: Runner) -> Iterator[Line]:
    yield events(run)
    say_counts(run, case("stele-get"), case("get"), 200)
    for threads in (1, 8):
        yield compared(run, "get20-local", "get", threads)
    yield compared(run, "get-last50-of-100k", "last", 1, "stele-last", "--warm", "1")


def events(run: Runner) -> Line:
    """Instructions of one event of a session with a thousand."""
    each: dict[str, list[float]] = {"stele-long": [], "long": []}
    for _ in range(INSTRUCTION_RUNS):
        for name, found in each.items():
            found.append(run.instructions(case(name), LONG_READS) / LONG_EVENTS)
    both = median(each["stele-long"]), median(each["long"])
    return line("get-event", *both, "instructions", "sessions", INSTRUCTION_RUNS, 1)


def append_slowly(run: Runner) -> Iterator[Line]:
    say_commit(run, "on the slow disk")
    for suffix in ("", "-hot"):
        yield compared(run, f"append-fsync1ms{suffix}", f"append{suffix}", 8)
    for suffix in ("", "-hot"):
        name = f"append-grouped-fsync1ms{suffix}"
        yield compared(run, name, f"append{suffix}", 8, f"stele-async{suffix}")
