"""One run of `stele verify`: the server, the progress, the summary."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Final

from stele.diag import Diagnostics
from stele.libpq import ConnectionProblem, LibpqMissing
from stele.model import Schema
from stele.verify import Report, verify
from stele.verify_cluster import ClusterProblem, throwaway_cluster
from stele.verify_session import VerifyProblem

_EVERY_SECONDS: Final = 0.1
_CLEAR: Final = "\r\033[K"


class VerifyFailed(Exception):
    """The schema could not be judged."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run has to say beside its findings."""

    report: Report
    seen_joins: bool  # there are queries, and what joins do to them is known

    def summary(self, diags: Diagnostics) -> str:
        errors = sum(one.severity == "error" for one in diags.sorted())
        warnings = len(diags.sorted()) - errors
        prepared = _count(self.report.statements, "statement")
        text = f"{prepared} prepared, {_count(errors, 'problem')}"
        if warnings:
            text += f", {_count(warnings, 'warning')}"
        if not self.seen_joins:
            text += (
                "\nwhat outer joins make NULL was not looked at; "
                "on Debian: apt-get install python3-pglast"
            )
        return text

    def as_json(self) -> dict[str, object]:
        return {
            "server": self.report.server,
            "statements": self.report.statements,
            "outer_joins": self.report.outer_joins,
        }


def run_verify(schema: Schema, url: str | None, diags: Diagnostics) -> Result:
    """Verifies on the database of a URL, or on a server that lives no longer than this call."""
    progress = _Progress()
    try:
        if url is not None:
            report = verify(schema, url, diags, progress.show)
        else:
            progress.say("starting a server")
            with throwaway_cluster() as own:
                report = verify(schema, own, diags, progress.show)
    except LibpqMissing as error:
        message = f"libpq is missing; on Debian: apt-get install libpq5 ({error})"
        raise VerifyFailed(message) from error
    except (ConnectionProblem, ClusterProblem, VerifyProblem) as error:
        raise VerifyFailed(str(error)) from error
    finally:
        progress.clear()
    queries = any(module.queries for module in schema.modules)
    return Result(report, report.outer_joins or not queries)


class _Progress:
    """One line on a terminal, which is gone at the end."""

    def __init__(self) -> None:
        self.on = sys.stderr.isatty()
        self.shown = 0.0

    def show(self, count: int, what: str) -> None:
        if time.monotonic() - self.shown >= _EVERY_SECONDS:
            self.say(f"{count} statements prepared: {what}")

    def say(self, text: str) -> None:
        if self.on:
            print(f"{_CLEAR}{text}", end="", file=sys.stderr, flush=True)
            self.shown = time.monotonic()

    def clear(self) -> None:
        if self.on:
            print(_CLEAR, end="", file=sys.stderr, flush=True)


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
