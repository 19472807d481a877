"""The frame of the benchmarks: programs, their outcomes, and ways to compare two of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypedDict

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests/support"))

from cluster import Cluster  # noqa: E402

SETTINGS = {
    "autovacuum": "off",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "max_wal_size": "4GB",
    "synchronous_commit": "off",  # else the disk is all that a timed insert shows
}
INSTRUCTION_RUNS = 3
TIMED_RUNS = 5
TIMED_MS = 400


class BenchError(Exception):
    """A program failed; its words are the message."""


@dataclass(frozen=True)
class Line:
    """One number, and beside it the floor's."""

    bench: str
    case: str
    threads: int
    ours: float
    floor: float
    ratio: float
    unit: str
    runs: int


class Outcome(TypedDict):
    """What a program prints."""

    count: int
    wall_ns: int
    cpu_ns: int
    allocations: int
    most: int  # operations of the luckiest thread
    least: int
    memory: int  # of the fattest server process
    statements: int
    server_ns: int  # CPU time of the server processes


@dataclass(frozen=True)
class Case:
    """One way of a program to do the work."""

    bench: str
    name: str
    options: tuple[str, ...] = ()


def tables(optional: str) -> str:
    """The SQL that creates the tables."""
    command = [sys.executable, "-m", "stele", "ddl", "--optional", optional, str(TOP / "schema")]
    path = os.environ | {"PYTHONPATH": str(TOP / "codegen")}
    return subprocess.check_output(command, env=path, text=True)


def rounded(value: float) -> float:
    return round(value, 4 if value < 10 else 1)


def line(
    case: str, ours: float, floor: float, unit: str, bench: str, runs: int, threads: int
) -> Line:
    ratio = round(ours / floor, 4) if floor else 0.0
    return Line(bench, case, threads, rounded(ours), rounded(floor), ratio, unit, runs)


class Runner:
    """Starts programs. `say` prints what only people read."""

    def __init__(self, programs: Path, cluster: Cluster, say: Callable[[str], None]):
        self.programs = programs
        self.cluster = cluster
        self.env = {**os.environ, "STELE_DSN": cluster.url()}
        self.say = say

    def prepare(self, name: str) -> None:
        """Runs an SQL file of this folder."""
        self.cluster.psql((TOP / "bench" / name).read_text())

    def command(self, case: Case, *options: str) -> list[str]:
        program = self.programs / f"bench-{case.bench}"
        return [str(program), "--case", case.name, *case.options, *options]

    def start(self, command: Sequence[str], preload: str = "") -> Outcome:
        env = {**self.env, "LD_PRELOAD": preload} if preload else self.env
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if done.returncode != 0:
            raise BenchError(f"{' '.join(command)}: {done.stderr.strip()}")
        outcome: Outcome = json.loads(done.stdout)
        return outcome

    def timed(self, case: Case, threads: int, ms: int = TIMED_MS) -> Outcome:
        return self.start(self.command(case, "--threads", str(threads), "--ms", str(ms)))

    def instructions(self, case: Case, count: int) -> float:
        """User-space instructions of one operation, as Callgrind counts them."""
        with tempfile.NamedTemporaryFile(prefix="stele-callgrind-") as out:
            callgrind = [
                "valgrind",
                "--quiet",
                "--tool=callgrind",
                f"--callgrind-out-file={out.name}",
                "--collect-atstart=no",
                "--toggle-collect=bench_measured*",
            ]
            self.start([*callgrind, *self.command(case, "--count", str(count))])
            for text in Path(out.name).read_text().splitlines():
                if text.startswith("totals:"):
                    return int(text.split()[1]) / count
        raise BenchError("Callgrind counted nothing")

    def allocations(self, case: Case, count: int) -> float:
        library = str(self.programs / "libcount.so")
        return self.start(self.command(case, "--count", str(count)), library)["allocations"] / count

    def system_calls(self, case: Case, count: int) -> dict[str, float]:
        """Calls of one operation: what more operations cost more, by strace."""
        more = self.strace(case, 2 * count)
        less = self.strace(case, count)
        each = {name: (calls - less.get(name, 0)) / count for name, calls in more.items()}
        return {name: calls for name, calls in sorted(each.items()) if abs(calls) >= 0.01}

    def strace(self, case: Case, count: int) -> dict[str, int]:
        with tempfile.NamedTemporaryFile(prefix="stele-strace-") as out:
            strace = ["strace", "-f", "-c", "-o", out.name]
            self.start([*strace, *self.command(case, "--count", str(count))])
            table = [text.split() for text in Path(out.name).read_text().splitlines()]
        return {
            row[-1]: int(row[3])
            for row in table
            if len(row) >= 5 and row[3].isdigit() and row[-1] != "total"
        }


# ---- ways to compare ---------------------------------------------------------------------------


def compare_instructions(run: Runner, name: str, ours: Case, floor: Case, count: int) -> Line:
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(INSTRUCTION_RUNS):
        mine.append(run.instructions(ours, count))
        theirs.append(run.instructions(floor, count))
    return line(name, median(mine), median(theirs), "instructions", ours.bench, len(mine), 1)


def say_counts(run: Runner, ours: Case, floor: Case, count: int) -> None:
    """Allocations and system calls, which are the same or are not."""
    for case in (ours, floor):
        calls = ", ".join(f"{k} {v:.2f}" for k, v in run.system_calls(case, count).items())
        run.say(f"  {case.name}: {run.allocations(case, count):.2f} allocations; {calls}")


Rate = Callable[[Outcome], float]


def per_second(scale: float = 1) -> Rate:
    return lambda outcome: outcome["count"] * scale * 1e9 / outcome["wall_ns"]


def server_time(outcome: Outcome) -> float:
    return outcome["server_ns"] / outcome["count"]


def nanoseconds(outcome: Outcome) -> float:
    return outcome["wall_ns"] / outcome["count"]


def compare_times(
    run: Runner,
    name: str,
    ours: Case,
    floor: Case,
    threads: int,
    unit: str,
    rate: Rate,
    ms: int = TIMED_MS,
) -> Line:
    """In each round the floor runs twice, so that its own spread shows: the A/A ratio."""
    mine: list[float] = []
    first: list[float] = []
    second: list[float] = []
    for _ in range(TIMED_RUNS):
        first.append(rate(run.timed(floor, threads, ms)))
        mine.append(rate(run.timed(ours, threads, ms)))
        second.append(rate(run.timed(floor, threads, ms)))
    run.say(
        f"  {name}, {threads} threads: A/A {median(second) / median(first):.3f}, "
        f"rounds {min(a / b for a, b in zip(mine, first, strict=True)):.2f} to "
        f"{max(a / b for a, b in zip(mine, first, strict=True)):.2f}"
    )
    return line(name, median(mine), median(first + second), unit, ours.bench, len(mine), threads)
