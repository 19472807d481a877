"""Working off a queue of jobs, beside two statements in a loop: see docs/reference/jobs.md."""

from __future__ import annotations

import os
from collections.abc import Iterator
from statistics import median
from typing import TypedDict, cast

from frame import Case, Line, Runner, line, per_second

ROWS = int(os.environ.get("STELE_BENCH_JOBS", "50000"))
WAKES = 400
RUNS = 5


class Woken(TypedDict):
    """What the program prints of jobs that are waited for."""

    count: int
    p50_ns: int
    p99_ns: int
    max_ns: int


def bench_jobs(run: Runner) -> Iterator[Line]:
    """Claimed and ended in batches of a hundred; then how long a job waits for its begin."""
    for n in (1, 4):
        rates: dict[str, list[float]] = {}
        for case in ("by-hand", "stele") * RUNS:
            options = ("--rows", str(ROWS), "--threads", str(n))
            outcome = run.start(run.command(Case("jobs", case), *options))
            rates.setdefault(case, []).append(per_second()(outcome))
        for name, found in rates.items():
            run.say(f"  {name}, {n} threads: {min(found):,.0f} to {max(found):,.0f} jobs/s")
        yield line(
            "rate", median(rates["stele"]), median(rates["by-hand"]), "jobs/s", "jobs", RUNS, n
        )
    ours, floor = (wait(run, case) for case in ("stele-wake", "by-hand-wake"))
    yield line("begin-p50", ours["p50_ns"] / 1e6, floor["p50_ns"] / 1e6, "ms", "jobs", 1, 1)
    yield line("begin-p99", ours["p99_ns"] / 1e6, floor["p99_ns"] / 1e6, "ms", "jobs", 1, 1)


def wait(run: Runner, case: str) -> Woken:
    outcome: object = run.start(run.command(Case("jobs", case), "--rows", str(WAKES)))
    return cast(Woken, outcome)
