"""Runs the suites for `./dev test` and sums them up.

A suite is a folder of tests/: its C tests are in the Meson suite of the same name, its Python tests
are collected by pytest. All of them share one private PostgreSQL, named by STELE_DSN. The last line
printed is the sum. With CI=true a skipped test counts as failed, unless a dataset is missing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster import Cluster, ClusterError, Interrupted, interruptible

TOP = Path(__file__).resolve().parents[2]
TESTS = TOP / "tests"
BUILD = Path(os.environ.get("STELE_BUILD") or TOP / "build")
# Fast ones first: the sooner a failure shows, the better.
ORDER = ("guard", "unit", "golden", "codegen", "compile", "fuzz", "db")
MAX_CONNECTIONS = "300"

SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


@dataclass
class Sum:
    """How many tests ended how."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other: Sum) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def python_suites() -> set[str]:
    return {path.relative_to(TESTS).parts[0] for path in TESTS.glob("*/**/test_*.py")}


def meson_suites() -> set[str]:
    return {
        path.parent.relative_to(TESTS).parts[0]
        for path in TESTS.glob("*/**/meson.build")
        if "test(" in path.read_text()
    }


def suites() -> list[str]:
    names = python_suites() | meson_suites()
    return sorted(names, key=lambda s: (ORDER.index(s) if s in ORDER else len(ORDER), s))


def forbids_skips() -> bool:
    return os.environ.get("CI") == "true"


def skip_reason(case: ElementTree.Element, skip: ElementTree.Element) -> str:
    """Why a test was skipped: pytest has it in the element, TAP in what the test printed."""
    return skip.get("message") or (case.findtext("system-out") or "").strip()


def read_junit(path: Path) -> Sum:
    """Counts the test cases of a JUnit file."""
    total = Sum()
    for case in ElementTree.parse(path).iter("testcase"):
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            total.failed += 1
        elif skip is None:
            total.passed += 1
        elif forbids_skips() and "dataset" not in (why := skip_reason(case, skip)):
            print(f"skipped: {case.get('classname')} {case.get('name')} {why}")
            total.failed += 1
        else:
            total.skipped += 1
    return total


def call(command: Sequence[str | Path], env: Mapping[str, str]) -> int:
    """Runs a command in a process group of its own, which does not outlive us."""
    with subprocess.Popen(command, env=env, cwd=TOP, start_new_session=True) as child:
        try:
            return child.wait()
        except BaseException:
            os.killpg(child.pid, signal.SIGTERM)
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
            raise


def run_meson(suite: str, setup: str, env: Mapping[str, str], verbose: bool) -> Sum:
    """Runs the C tests of a suite in one setup."""
    build = BUILD / ("plain" if setup == "valgrind" else setup)
    log = f"log-{suite}"  # to which Meson adds the name of a test setup
    results = build / "meson-logs" / f"{log}{'-valgrind' * (setup == 'valgrind')}.junit.xml"
    results.unlink(missing_ok=True)
    command: list[str | Path] = ["meson", "test", "-C", build, "--no-rebuild", "--logbase", log]
    command += ["--num-processes", "2", "--suite", suite]
    command += ["--verbose"] if verbose else ["--quiet", "--print-errorlogs"]
    if setup == "valgrind":
        command += ["--setup", "valgrind"]
    code = call(command, env)
    return checked(read_junit(results) if results.exists() else Sum(), code, f"meson test {suite}")


def run_pytest(suite: str, env: Mapping[str, str], verbose: bool, more: Sequence[str]) -> Sum:
    """Runs the Python tests of a suite."""
    results = BUILD / f"pytest-{suite}.xml"
    results.unlink(missing_ok=True)
    command: list[str | Path] = [sys.executable, "-m", "pytest", f"--junitxml={results}"]
    command += ["-v"] if verbose else ["-q", "--no-header"]
    code = call([*command, *more, TESTS / suite], env)
    if code == 5 and more:  # nothing in this suite fits the caller's selection
        return Sum()
    return checked(read_junit(results) if results.exists() else Sum(), code, f"pytest {suite}")


def checked(total: Sum, code: int, what: str) -> Sum:
    """A run that failed without a failed test is a failure of its own."""
    if code != 0 and total.failed == 0:
        print(f"{what} ended with exit code {code}")
        total.failed += 1
    return total


def run_suite(
    suite: str, options: argparse.Namespace, env: Mapping[str, str]
) -> Iterable[tuple[str, Sum]]:
    """Yields what each way of running the suite came to."""
    if suite in meson_suites():
        for setup in options.setup:
            if setup != "tsan":
                yield f"C, {setup}", run_meson(suite, setup, env, options.verbose)
    if suite in python_suites() and "plain" in options.setup:
        yield "Python", run_pytest(suite, env, options.verbose, options.pytest)


def run_all(options: argparse.Namespace) -> int:
    total = Sum()
    lines = []

    def note(suite: str, how: str, result: Sum, since: float) -> None:
        lines.append(f"{suite:<10} {how:<12} {result} ({time.monotonic() - since:.1f} s)")
        print(lines[-1], flush=True)
        total.add(result)

    with interruptible(), Cluster({"max_connections": MAX_CONNECTIONS}) as cluster:
        env = {
            **os.environ,
            **SANITIZERS,
            "STELE_DSN": cluster.url(),
            "STELE_BUILD": str(BUILD),
        }
        start = time.monotonic()
        for suite in options.suite or suites():
            for how, result in run_suite(suite, options, env):
                note(suite, how, result, start)
                start = time.monotonic()
        if "tsan" in options.setup and meson_suites() & set(options.suite or suites()):
            note("threaded", "C, tsan", run_meson("threaded", "tsan", env, options.verbose), start)
    print("\n" + "\n".join(lines))
    print(total)
    return 1 if total.failed or not total.passed else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev test", description="Runs the tests.")
    parser.add_argument("--suite", action="append", choices=suites(), metavar="SUITE")
    parser.add_argument("--setup", action="append", default=[])
    parser.add_argument("--list", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    options, more = parser.parse_known_args(arguments)
    options.pytest = more
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.list:
        print("\n".join(suites()))
        return 0
    if shutil.which("meson") is None:
        print("meson is missing", file=sys.stderr)
        return 2
    try:
        return run_all(options)
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 2
    except Interrupted as stop:
        return 128 + stop.number


if __name__ == "__main__":
    sys.exit(main())
