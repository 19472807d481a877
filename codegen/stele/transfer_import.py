"""Importing a file: batch by batch, each a transaction that also says how far it has come.

A batch is copied into a temporary table of texts, and from there inserted. What the server refuses
is found in halves; a line that cannot be stored is rejected with the reason, the others are kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from stele.libpq import ServerError
from stele.model import Identity
from stele.names import sql_ident
from stele.suggest import remedy
from stele.transfer_link import TransferConnection
from stele.transfer_read import Reader, Record
from stele.transfer_state import State, StateProblem, StateStore
from stele.transfer_target import Target
from stele.transfer_types import ValueProblem

_BATCH_BYTES: Final = 16 << 20
_OF_A_LINE: Final = ("21", "22", "23", "P0001")  # beginnings of SQLSTATEs


@dataclass(frozen=True, slots=True)
class Options:
    batch: int = 5000
    on_conflict: str = "error"  # error, skip, update
    key: str = ""  # the unique key of a conflict; '' is the primary key
    restart: bool = False


@dataclass(slots=True)
class _Batch:
    """Lines that can be sent; `shapes` are the sets of columns that they have."""

    records: list[Record] = field(default_factory=list)
    rows: list[bytes] = field(default_factory=list)
    shape_of: list[int] = field(default_factory=list)
    rejects: list[tuple[Record, str, str]] = field(default_factory=list)  # line, column, reason
    size: int = 0
    lines: int = 0


class Importer:
    """One import of one file."""

    def __init__(
        self,
        link: TransferConnection,
        target: Target,
        reader: Reader,
        options: Options,
        progress: Callable[[State, int], None],
    ) -> None:
        self.link = link
        self.target = target
        self.path = path = reader.path
        self.options = options
        self.progress = progress
        self.reader = reader
        self.rejected_path = path.with_name(path.name + ".rejected.jsonl")
        self.store = StateStore(link, target, str(path.resolve()))
        self.state = State()
        self.resumed_at = 0
        self.finished_before = False
        self.place = {one.name: i for i, one in enumerate(target.columns)}
        self.generated = {
            column.name for column in target.table.columns if column.name not in self.place
        }
        self.required = target.required()
        self.shapes: dict[tuple[int, ...], int] = {}
        if options.on_conflict == "update":
            target.conflict(options.key)
        if self.reader.is_csv:
            for name in self.reader.header:
                problem = self._column_problem(name)
                if problem:
                    raise StateProblem(f"{path}:1: {problem}")

    # -- the whole --

    def run(self) -> State:
        self._open_state()
        with self.rejected_path.open("ab") as rejected:
            rejected.truncate(self.state.rejected_bytes)
            if not self.finished_before:
                self._all_batches(rejected)
        if self.rejected_path.stat().st_size == 0:
            self.rejected_path.unlink()
        return self.state

    def _open_state(self) -> None:
        self.store.prepare()
        if self.options.restart:
            self.store.forget()
        found = self.store.read()
        if found is None:
            self.store.begin()
            return
        self.state, digest, self.finished_before = found
        self.resumed_at = self.state.line
        if self.state.position == 0:
            self.finished_before = False
            return
        if self.reader.skip_to(self.state.position, self.state.line) != digest:
            raise StateProblem(
                f"{self.path} is not the file that was begun: its first {self.state.line} lines "
                "have changed; --restart imports it from its beginning"
            )
        if self.reader.size > self.state.position:
            self.finished_before = False  # lines were added to it

    def _all_batches(self, rejected: BinaryIO) -> None:
        batch = _Batch()
        records = self.reader.records()
        for record in records:
            self._add(batch, record)
            if batch.lines >= self.options.batch or batch.size >= _BATCH_BYTES:
                self._send(batch, rejected, False)
                batch = _Batch()
        self._send(batch, rejected, True)

    # -- lines --

    def _add(self, batch: _Batch, record: Record) -> None:
        batch.lines += 1
        batch.size += len(record.raw)
        if record.problem:
            batch.rejects.append((record, "", record.problem))
            return
        texts: dict[int, str | None] = {}
        for name, value in record.values.items():
            problem = self._column_problem(name)
            if problem:
                batch.rejects.append((record, name, problem))
                return
            at = self.place[name]
            try:
                texts[at] = self.target.columns[at].text(value)
            except ValueProblem as error:
                batch.rejects.append((record, name, f'"{name}" {error}'))
                return
        for name in self.required:
            if self.place[name] not in texts:
                batch.rejects.append((record, name, f'"{name}" is missing'))
                return
        self._add_row(batch, record, texts)

    def _column_problem(self, name: str) -> str:
        if name in self.place:
            return ""
        if name in self.generated:
            return f'"{name}" is generated by the server: leave it out'
        return f'there is no column "{name}"; {remedy(name, list(self.place), "column")}'

    def _add_row(self, batch: _Batch, record: Record, texts: dict[int, str | None]) -> None:
        shape = tuple(sorted(texts))
        number = self.shapes.setdefault(shape, len(self.shapes))
        cells = [str(len(batch.rows)), str(number)]
        cells += [_cell(texts.get(i)) for i in range(len(self.target.columns))]
        batch.rows.append(("\t".join(cells) + "\n").encode())
        batch.records.append(record)
        batch.shape_of.append(number)

    # -- batches --

    def _send(self, batch: _Batch, rejected: BinaryIO, last: bool) -> None:
        before = self.state.position
        state = self.state
        link = self.link
        link.execute("BEGIN")
        if batch.rows:
            cells = ", ".join(f"c{i} text" for i in range(len(self.target.columns)))
            more = f", {cells}" if cells else ""
            link.execute(
                f"CREATE TEMPORARY TABLE stele_stage (n int8, shape int4{more}) ON COMMIT DROP"
            )
            link.copy_in("COPY pg_temp.stele_stage FROM STDIN", _chunks(batch.rows))
            self._store(batch, 0, len(batch.rows))
        self._write_rejects(batch, rejected)
        if last:
            self._move_sequences()
        state.position = self.reader.at
        state.line = self.reader.line
        self.store.write(before, state, self.reader.digest(), last)
        link.execute("COMMIT")
        self.progress(state, self.reader.size)

    def _store(self, batch: _Batch, low: int, high: int) -> None:
        """Inserts rows of the stage; in halves where the server refuses them."""
        link = self.link
        link.execute("SAVEPOINT stele_import")
        try:
            inserted, updated = self._insert(batch, low, high)
        except ServerError as error:
            link.execute("ROLLBACK TO SAVEPOINT stele_import; RELEASE SAVEPOINT stele_import")
            if not error.sqlstate.startswith(_OF_A_LINE):
                raise
            if high - low == 1:
                batch.rejects.append((batch.records[low], error.column, _reason(error)))
                return
            middle = (low + high) // 2
            self._store(batch, low, middle)
            self._store(batch, middle, high)
            return
        link.execute("RELEASE SAVEPOINT stele_import")
        self.state.inserted += inserted
        self.state.updated += updated
        self.state.skipped += high - low - inserted - updated

    def _insert(self, batch: _Batch, low: int, high: int) -> tuple[int, int]:
        inserted = updated = 0
        by_number = {number: shape for shape, number in self.shapes.items()}
        for number in dict.fromkeys(batch.shape_of[low:high]):
            sql = self.target.insert(by_number[number], self.options.on_conflict, self.options.key)
            rows, _ = self.link.run(sql, str(low), str(high), str(number))
            inserted += int(rows[0][0] or "0")
            updated += int(rows[0][1] or "0")
        return inserted, updated

    def _write_rejects(self, batch: _Batch, rejected: BinaryIO) -> None:
        for record, column, reason in sorted(batch.rejects, key=lambda one: one[0].line):
            entry = {"line": record.line, "column": column, "reason": reason, "record": record.raw}
            rejected.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
        rejected.flush()
        if batch.rejects:
            os.fsync(rejected.fileno())
        self.state.rejected += len(batch.rejects)
        self.state.rejected_bytes = rejected.tell()

    def _move_sequences(self) -> None:
        """Numbers that came from the file must not come from the sequence again."""
        table = self.target.name
        for one in self.target.columns:
            given = any(self.place[one.name] in shape for shape in self.shapes)
            if one.column.identity is Identity.NONE or not given:
                continue
            name = sql_ident(one.name)
            rows, _ = self.link.run("SELECT pg_get_serial_sequence($1, $2)", table, one.name)
            sequence = rows[0][0]
            if sequence:
                self.link.run(
                    f"SELECT setval($1::regclass, greatest(m.high, q.last_value)) FROM "
                    f"(SELECT max({name}) AS high FROM {table}) AS m, {sequence} AS q "
                    f"WHERE m.high > q.last_value OR (m.high = q.last_value AND NOT q.is_called)",
                    sequence,
                )


def _cell(text: str | None) -> str:
    """A field of COPY's text format."""
    if text is None:
        return "\\N"
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _chunks(rows: Sequence[bytes]) -> list[bytes]:
    return [b"".join(rows[i : i + 500]) for i in range(0, len(rows), 500)]


def _reason(error: ServerError) -> str:
    return f"{error.message} (SQLSTATE {error.sqlstate})"
