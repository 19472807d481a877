"""`stele import` and `stele export`: arguments, what is shown meanwhile, what is said then."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stele.model import Schema
    from stele.transfer_link import TransferConnection
    from stele.transfer_state import State
    from stele.transfer_target import Target

ReadSchema = Callable[[list[Path]], "Schema"]
_BAR = 30


class TransferFailed(Exception):
    """Ends the command; `code` is its exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


# ---- arguments ----


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", metavar="TABLE", help="a table of the schema, or MODULE.TABLE")
    parser.add_argument(
        "--database", metavar="URL", required=True, help="where it is, also as key=value pairs"
    )
    parser.add_argument(
        "--definition",
        action="append",
        type=Path,
        metavar="PATH",
        help="a schema file, or a folder of *.yaml; may be repeated [schema]",
    )
    parser.add_argument("--schema", default="", help="the schema it is in [the search_path's]")
    parser.add_argument("--prefix", default="", help="what names begin with [nothing]")


def add_import(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("file", type=Path, metavar="FILE", help="FILE.jsonl or FILE.csv")
    parser.add_argument(
        "--on-conflict",
        choices=("error", "skip", "update"),
        default="error",
        help="what a row means whose key exists: a rejected line, nothing, or an update [error]",
    )
    parser.add_argument("--key", default="", help="the unique key of an update [the primary key]")
    parser.add_argument(
        "--batch", type=int, default=5000, metavar="N", help="lines of a transaction [5000]"
    )
    parser.add_argument(
        "--restart", action="store_true", help="forget how far an earlier import of FILE came"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def add_export(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument(
        "--format", choices=("jsonl", "csv"), help="[what --output is named, else jsonl]"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to [standard output]")
    parser.add_argument("--live", action="store_true", help="no deleted and no expired rows")


# ---- both ----


def _target(options: argparse.Namespace, read: ReadSchema) -> Target:
    from stele.names import is_identifier
    from stele.transfer_target import TargetProblem, find_target

    for what in ("schema", "prefix"):
        name = getattr(options, what)
        if name and not is_identifier(name):
            raise TransferFailed(1, f'--{what} "{name}": use letters, digits and underscores')
    try:
        schema = read(options.definition or [Path("schema")])
        return find_target(schema, options.table, options.schema, options.prefix)
    except TargetProblem as error:
        raise TransferFailed(1, str(error)) from error


def _connect(url: str) -> TransferConnection:
    from stele.libpq import ConnectionProblem, LibpqMissing
    from stele.transfer_link import TransferConnection

    try:
        return TransferConnection(url)
    except LibpqMissing as error:
        raise TransferFailed(
            2, f"libpq is missing ({error}); on Debian: apt-get install libpq5"
        ) from error
    except ConnectionProblem as error:
        raise TransferFailed(2, f"cannot connect: {error}") from error


# ---- import ----


class _Bar:
    """A line on the terminal, rewritten."""

    def __init__(self) -> None:
        self.shown = sys.stderr.isatty()
        self.started = time.monotonic()

    def show(self, state: State, size: int) -> None:
        if not self.shown:
            return
        part = state.position / size if size else 1.0
        done = int(part * _BAR)
        rows = state.inserted + state.updated + state.skipped
        rate = rows / max(time.monotonic() - self.started, 0.001)
        bar = "=" * done + " " * (_BAR - done)
        text = f"\r[{bar}] {part:4.0%}  {rows:,} rows, {rate:,.0f}/s, {state.rejected} rejected "
        print(text, end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.shown:
            print(file=sys.stderr)


def run_import(options: argparse.Namespace, read: ReadSchema) -> int:
    from stele.libpq import ConnectionProblem, ServerError
    from stele.transfer_import import Importer, Options
    from stele.transfer_read import FormatProblem, Reader
    from stele.transfer_state import StateProblem
    from stele.transfer_target import TargetProblem

    if options.batch < 1:
        raise TransferFailed(1, "--batch: at least 1")
    target = _target(options, read)
    chosen = Options(options.batch, options.on_conflict, options.key, options.restart)
    link = _connect(options.database)
    bar = _Bar()
    started = time.monotonic()
    try:
        with closing(Reader(options.file)) as reader:
            importer = Importer(link, target, reader, chosen, bar.show)
            state = importer.run()
    except (FormatProblem, StateProblem, TargetProblem) as error:
        raise TransferFailed(1, str(error)) from error
    except ServerError as error:
        message = f"{error.message} (SQLSTATE {error.sqlstate}); what is stored stays"
        raise TransferFailed(2, f"{message}: run it again to go on") from error
    except ConnectionProblem as error:
        raise TransferFailed(2, f"{error}; run it again to go on where it stopped") from error
    finally:
        bar.end()
        link.close()
    counts = asdict(state)
    facts: dict[str, object] = {
        name: counts[name] for name in ("inserted", "updated", "skipped", "rejected")
    }
    if options.json:
        print(
            json.dumps(
                {
                    "table": target.table.name,
                    "file": str(options.file),
                    "lines": state.line,
                    **facts,
                    "resumed_after_line": importer.resumed_at,
                    "rejected_file": str(importer.rejected_path) if state.rejected else None,
                    "seconds": round(time.monotonic() - started, 3),
                }
            )
        )
    else:
        if importer.finished_before:
            print(f"{options.file} was imported before; --restart does it again")
        elif importer.resumed_at:
            print(f"went on after line {importer.resumed_at}")
        print(", ".join(f"{count} {name}" for name, count in facts.items()))
        if state.rejected:
            print(f"rejected lines: {importer.rejected_path}")
    return 1 if state.rejected else 0


# ---- export ----


def run_export(options: argparse.Namespace, read: ReadSchema) -> int:
    from stele.libpq import ConnectionProblem, ServerError

    target = _target(options, read)
    suffix = options.output.suffix.lower() if options.output else ""
    is_csv = (options.format or ("csv" if suffix == ".csv" else "jsonl")) == "csv"
    link = _connect(options.database)
    sql = target.read_csv(options.live) if is_csv else target.read_json(options.live)
    # A file is complete or not there.
    part = options.output.with_name(options.output.name + ".part") if options.output else None
    try:
        out = part.open("wb") if part else sys.stdout.buffer
        try:
            for line in link.copy_out(sql):
                # Of JSON, COPY doubles the backslashes and escapes nothing else.
                out.write(line if is_csv else line.replace(b"\\\\", b"\\"))
            out.flush()
        finally:
            if part:
                out.close()
        if part:
            part.replace(options.output)
    except ServerError as error:
        raise TransferFailed(2, f"{error.message} (SQLSTATE {error.sqlstate})") from error
    except ConnectionProblem as error:
        raise TransferFailed(2, str(error)) from error
    finally:
        link.close()
        if part:
            part.unlink(missing_ok=True)
    return 0
