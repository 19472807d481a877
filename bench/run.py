"""Runs the benchmarks: Stele's work and a floor's, in turn, on a private PostgreSQL.

A bench-<name> program does one case once; this program starts them under Callgrind, strace or the
clock, takes medians, and prints a table, or with --json one line for each number:

    {"bench", "case", "threads", "ours", "floor", "ratio", "unit", "runs"}

`ratio` is ours / floor. docs/performance.md tells how to read the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TypedDict, cast

from frame import (
    SETTINGS,
    BenchError,
    Case,
    Line,
    Outcome,
    Rate,
    Runner,
    compare_instructions,
    compare_times,
    line,
    nanoseconds,
    per_second,
    say_counts,
    server_time,
    tables,
)
from group_commit import bench_group_commit
from jobs import bench_jobs
from sessions import DURABLE, bench_sessions
from sessions import OPTIONAL as OF_SESSIONS

# isort: split
# The frame has made the modules of tests/support known.
from cluster import Cluster, ClusterError, Interrupted, interruptible

# ---- the benchmarks ----------------------------------------------------------------------------


def bench_statement(
    run: Runner, name: str, count: int, unit: str, rate: Rate, threads: Sequence[int]
) -> Iterator[Line]:
    stele, prepared, params = (Case(name, c) for c in ("stele", "prepared", "params"))
    yield compare_instructions(run, "instructions", stele, prepared, count)
    yield compare_instructions(run, "instructions-params", stele, params, count)
    say_counts(run, stele, prepared, count)
    for n in threads:
        yield compare_times(run, "rate", stele, prepared, n, unit, rate)
    yield compare_times(run, "rate-params", stele, params, 1, unit, rate)


def bench_point_get(run: Runner) -> Iterator[Line]:
    yield from bench_statement(run, "point-get", 1000, "ops/s", per_second(), (1, 2, 8))


def bench_insert(run: Runner) -> Iterator[Line]:
    returning = Case("insert", "stele-returning"), Case("insert", "returning")
    yield compare_instructions(run, "instructions-returning", *returning, 1000)
    yield from bench_statement(run, "insert", 1000, "rows/s", per_second(), (1, 8))


def bench_list(run: Runner) -> Iterator[Line]:
    yield from bench_statement(run, "list-100", 50, "rows/s", per_second(100), (1, 2))


def bench_pool(run: Runner) -> Iterator[Line]:
    stele, checked, plain = (Case("pool", c) for c in ("stele", "checked", "plain"))
    yield compare_instructions(run, "instructions", stele, checked, 2000)
    say_counts(run, stele, checked, 2000)
    for n in (1, 2, 8, 64):
        yield compare_times(run, "pair", stele, checked, n, "ns", nanoseconds)
    yield compare_times(run, "pair-plain", stele, plain, 1, "ns", nanoseconds)
    stele, checked = Case("pool", "stele-get"), Case("pool", "checked-get")
    for n in (8, 64):
        yield compare_times(run, "get", stele, checked, n, "ops/s", per_second())
    yield from fairness(run, stele, checked)


def fairness(run: Runner, ours: Case, floor: Case) -> Iterator[Line]:
    """64 threads on 8 connections: here `floor` is the unluckiest thread, of Stele's own."""
    for name, case in (("fairness", ours), ("fairness-by-hand", floor)):
        runs = [run.timed(case, 64, 3000) for _ in range(3)]
        most = median(r["most"] * 1e9 / r["wall_ns"] for r in runs)
        least = median(r["least"] * 1e9 / r["wall_ns"] for r in runs)
        yield line(name, most, least, "ops/s", "pool", len(runs), 64)


TENANT_THREADS = 4
TENANT_RUNS = 5
TENANT_MS = 1500


def bench_tenants(run: Runner) -> Iterator[Line]:
    run.prepare("tenants.sql")
    for name, skewed in (("uniform", "0"), ("zipf", "1")):
        options = ("--warm", "2000", "--skewed", skewed)
        cases = [Case("tenants", c, options) for c in ("stele", "always", "never")]
        outcomes: dict[str, list[Outcome]] = {case.name: [] for case in cases}
        for _ in range(TENANT_RUNS):
            for case in cases:
                outcomes[case.name].append(run.timed(case, TENANT_THREADS, TENANT_MS))
        yield from tenant_lines(run, name, outcomes)


def tenant_lines(run: Runner, name: str, outcomes: dict[str, list[Outcome]]) -> Iterator[Line]:
    rates = {case: median(map(per_second(), found)) for case, found in outcomes.items()}
    memory = {case: median(o["memory"] for o in found) for case, found in outcomes.items()}
    server = {case: median(map(server_time, found)) for case, found in outcomes.items()}
    for case, found in outcomes.items():
        statements = max(outcome["statements"] for outcome in found)
        run.say(
            f"  {name}, {case}: {rates[case]:,.0f} ops/s, {server[case] / 1000:.1f} us of the "
            f"server's CPU each; the fattest backend holds "
            f"{memory[case] / 2**20:.1f} MiB and {statements} prepared statements"
        )
    better = max(rates["always"], rates["never"])
    ours, n = rates["stele"], TENANT_THREADS
    yield line(name, ours, better, "ops/s", "tenants", TENANT_RUNS, n)
    yield line(f"{name}-always", ours, rates["always"], "ops/s", "tenants", TENANT_RUNS, n)
    yield line(f"{name}-never", ours, rates["never"], "ops/s", "tenants", TENANT_RUNS, n)
    least = min(server["always"], server["never"])
    yield line(f"{name}-server", server["stele"], least, "ns", "tenants", TENANT_RUNS, n)
    bytes_of = (memory["stele"], memory["always"])
    yield line(f"{name}-memory", *bytes_of, "bytes", "tenants", TENANT_RUNS, n)


def bench_pipeline(run: Runner) -> Iterator[Line]:
    """Ten finds in one round trip, beside libpq's own pipeline and beside ten round trips."""
    stele, libpq, sequential = (Case("pipeline-10", c) for c in ("stele", "libpq", "sequential"))
    yield compare_instructions(run, "instructions", stele, libpq, 200)
    say_counts(run, stele, libpq, 200)
    for n in (1, 2):
        yield compare_times(run, "rate", stele, libpq, n, "ops/s", per_second(10))
        yield compare_times(run, "sequential", stele, sequential, n, "ops/s", per_second(10))


EVENT_LOOP_QUERIES = 200


def bench_event_loop(run: Runner) -> Iterator[Line]:
    """Two hundred finds at once on one thread, beside the same loop on libpq."""
    stele, libpq, one = (Case("event-loop", c) for c in ("stele", "libpq", "sequential"))
    yield compare_instructions(run, "instructions", stele, libpq, 20)
    say_counts(run, stele, libpq, 20)
    rate = per_second(EVENT_LOOP_QUERIES)
    yield compare_times(run, "rate", stele, libpq, 1, "ops/s", rate)
    yield compare_times(run, "sequential", stele, one, 1, "ops/s", rate)


BULK_ROWS = 10_000


BULK_MS = 2000  # some ten operations: a few of them are all noise


def bench_bulk(run: Runner) -> Iterator[Line]:
    """Ten thousand rows in one call, beside COPY written by hand and beside single inserts."""
    few = ("--warm", "1")  # an operation is ten thousand rows
    stele, copy, single = (Case("bulk", c, few) for c in ("stele", "copy", "single"))

    def cpu(outcome: Outcome) -> float:
        return outcome["cpu_ns"] / (outcome["count"] * BULK_ROWS)

    yield compare_instructions(run, "instructions", stele, copy, 3)
    yield compare_times(run, "rate", stele, copy, 1, "rows/s", per_second(BULK_ROWS), BULK_MS)
    yield compare_times(run, "client-cpu", stele, copy, 1, "ns", cpu, BULK_MS)
    yield compare_times(
        run, "rate-single", stele, single, 1, "rows/s", per_second(BULK_ROWS), BULK_MS
    )
    arrays = Case("bulk", "stele-arrays", few)
    yield compare_times(run, "arrays", arrays, copy, 1, "rows/s", per_second(BULK_ROWS), BULK_MS)


def bench_stream(run: Runner) -> Iterator[Line]:
    few = ("--warm", "1")  # an operation is a million rows
    stele, libpq = Case("stream", "stele", few), Case("stream", "libpq", few)
    rows = 1_000_000
    yield compare_times(run, "rate", stele, libpq, 1, "rows/s", per_second(rows))


BELL_WRITERS = 64
BELL_RUNS = 15
BELL_MS = 1000
BELL_ROUND = ("silent", "stele", "silent")  # the floor twice, as everything else drifts
BELL_CASES = BELL_ROUND * BELL_RUNS + ("inside",) * 3


def bench_doorbell(run: Runner) -> Iterator[Line]:
    """64 writers that commit durably, beside some who tell nobody; NOTIFY inside, as control."""
    rates: dict[str, list[float]] = {}
    for case in BELL_CASES:
        outcome = run.timed(Case("doorbell", case), BELL_WRITERS, BELL_MS)
        rates.setdefault(case, []).append(per_second()(outcome))
    for name, found in rates.items():
        run.say(f"  {name}: {min(found):,.0f} to {max(found):,.0f} ops/s")
    for name, case in (("rate", "stele"), ("inside", "inside")):
        both = median(rates[case]), median(rates["silent"])
        yield line(name, *both, "ops/s", "doorbell", BELL_RUNS, BELL_WRITERS)


class Swept(TypedDict):
    """What bench-ttl prints."""

    count: int
    wall_ns: int
    writes: int
    write_max_ns: int
    write_p99_ns: int
    read_p99_ns: int


# Half of them expired. 2,000,000 take half an hour: set STELE_BENCH_TTL_ROWS.
TTL_ROWS = int(os.environ.get("STELE_BENCH_TTL_ROWS", "200000"))
TTL_RUNS = 3
TTL_CASES = ("none", "stele", "by-hand", "stele-held", "stele-soft")
TTL_CONTROLS = ("restart-held", "giant")


def bench_ttl(run: Runner) -> Iterator[Line]:
    """Removing expired rows beside a reader and a writer; the floor is named by each line."""
    found: dict[str, list[Swept]] = {}
    for case in (*(c for _ in range(TTL_RUNS) for c in TTL_CASES), *TTL_CONTROLS):
        found.setdefault(case, []).append(sweep_once(run, case))
    rates = {
        case: median(o["count"] * 1e9 / o["wall_ns"] for o in all_) for case, all_ in found.items()
    }
    worst = {case: median(o["write_max_ns"] for o in all_) / 1e6 for case, all_ in found.items()}
    for case, outcomes in found.items():
        writes = median(o["writes"] * 1e9 / o["wall_ns"] for o in outcomes)
        reads = median(o["read_p99_ns"] for o in outcomes) / 1e3
        late = median(o["write_p99_ns"] for o in outcomes) / 1e6
        run.say(
            f"  {case}: {rates[case]:,.0f} rows/s; {writes:,.0f} writes/s, p99 {late:.2f} ms, max "
            f"{worst[case]:.2f} ms; reads p99 {reads:.0f} us"
        )
    for name, ours, floor in (
        ("by-hand", "stele", "by-hand"),
        ("held-snapshot", "stele-held", "stele"),
        ("restart-held", "stele-held", "restart-held"),
        ("soft", "stele-soft", "stele"),
    ):
        yield line(name, rates[ours], rates[floor], "rows/s", "ttl", TTL_RUNS, 1)
    for name, floor in (("write-max", "none"), ("write-max-giant", "giant")):
        yield line(name, worst["stele"], worst[floor], "ms", "ttl", TTL_RUNS, 1)


def sweep_once(run: Runner, case: str) -> Swept:
    options = ("--rows", str(TTL_ROWS), "--ms", "5000")
    outcome: object = run.start(run.command(Case("ttl", case), *options))
    return cast(Swept, outcome)


BENCHES: dict[str, Callable[[Runner], Iterator[Line]]] = {
    "bulk": bench_bulk,
    "doorbell": bench_doorbell,
    "point-get": bench_point_get,
    "event-loop": bench_event_loop,
    "group-commit": bench_group_commit,
    "insert": bench_insert,
    "jobs": bench_jobs,
    "list-100": bench_list,
    "pipeline-10": bench_pipeline,
    "pool": bench_pool,
    "sessions": bench_sessions,
    "stream": bench_stream,
    "tenants": bench_tenants,
    "ttl": bench_ttl,
}


# Indexes and settings that a benchmark has beside the usual ones.
OPTIONAL = {"sessions": OF_SESSIONS, "ttl": "*.sweep,*.deleted"}
OTHER_SETTINGS = {"sessions": DURABLE}


# ---- output ------------------------------------------------------------------------------------


def say_aloud(text: str) -> None:
    print(text, flush=True)


def say_nothing(text: str) -> None:
    pass


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def print_line(found: Line) -> None:
    better = "higher" if found.unit.endswith("/s") else "lower"
    print(
        f"{found.bench:10} {found.case:27} {found.threads:3} {number(found.ours):>12} "
        f"{number(found.floor):>12} {found.ratio:7.3f}  {found.unit} ({better} is better)",
        flush=True,
    )


def run_all(programs: Path, names: Sequence[str], as_json: bool) -> None:
    if not as_json:
        print(f"{'bench':10} {'case':27} {'thr':>3} {'ours':>12} {'floor':>12} {'ratio':>7}  unit")
    for name in names:
        with Cluster(OTHER_SETTINGS.get(name, SETTINGS)) as cluster:
            cluster.psql(tables(OPTIONAL.get(name, "")))
            runner = Runner(programs, cluster, say_nothing if as_json else say_aloud)
            runner.prepare("data.sql")
            for found in BENCHES[name](runner):
                if as_json:
                    print(json.dumps(asdict(found)), flush=True)
                else:
                    print_line(found)


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the benchmarks; start it by ./dev bench.")
    parser.add_argument("programs", type=Path, help="folder of the programs")
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run: all")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    options = parser.parse_args()
    if options.list:
        print("\n".join(BENCHES))
        return 0
    for name in options.names:
        if name not in BENCHES:
            parser.error(f"no such benchmark: {name}; there are {', '.join(BENCHES)}")
    try:
        with interruptible():
            run_all(options.programs, options.names or list(BENCHES), options.json)
    except (BenchError, ClusterError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2 if isinstance(error, ClusterError) else 1
    except Interrupted as stop:
        return 128 + stop.number
    return 0


if __name__ == "__main__":
    sys.exit(main())
