"""Group commit beside batches made by hand, and beside a transaction for each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from frame import SETTINGS, Case, Line, Runner, line, per_second, tables
from slow_disk import SlowDisk

GROUP_ROWS = 10_000  # of an operation, but for those that store one row
LANES = 4  # at most
GROUP_RUNS = 5
GROUP_MS = 700


def group_rates(run: Runner, cases: Sequence[tuple[Case, int]], threads: int) -> dict[str, float]:
    """Rows in a second, in turn; beside each case the rows of its operation."""
    found: dict[str, list[float]] = {}
    for _ in range(GROUP_RUNS):
        for case, rows in cases:
            outcome = run.timed(case, threads, GROUP_MS)
            found.setdefault(case.name, []).append(per_second(rows)(outcome))
    for name, rates in found.items():
        run.say(f"  {name}, {threads} threads: {min(rates):,.0f} to {max(rates):,.0f} rows/s")
    return {name: median(rates) for name, rates in found.items()}


def bench_group_commit(run: Runner) -> Iterator[Line]:
    """Rows put one by one, beside batches made by hand; then where a commit waits for its disk."""

    def case(name: str, lanes: int) -> tuple[Case, int]:
        one_row = name in ("stele-wait", "autocommit")
        options = ("--warm", "1", "--connections", str(lanes))
        return Case("group-commit", name, options), 1 if one_row else GROUP_ROWS

    def compared(name: str, runner: Runner, ours: str, floor: str, threads: int) -> Line:
        rates = group_rates(runner, [case(floor, 1), case(ours, min(threads, LANES))], threads)
        both = rates[ours], rates[floor]
        return line(name, *both, "rows/s", "group-commit", GROUP_RUNS, threads)

    for n in (1, 4):
        yield compared("unnest", run, "stele", "unnest", n)
        yield compared("pipeline", run, "stele-appends", "pipeline", n)
    with SlowDisk(run.programs, {**SETTINGS, "synchronous_commit": "on"}) as slow:
        slow.psql(tables(""))
        runner = Runner(run.programs, slow, run.say)
        runner.prepare("data.sql")
        for n in (1, 8):
            yield compared("slow-disk-autocommit", runner, "stele", "autocommit", n)
        yield compared("slow-disk-unnest", runner, "stele", "unnest", 1)
        yield compared("slow-disk-wait", runner, "stele-wait", "autocommit", 64)
