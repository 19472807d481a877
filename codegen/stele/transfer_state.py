"""How far an import has come, kept in the database: it is written with the rows it speaks of.

So each line is stored once, whatever breaks: the row that says so and the line's own rows are of
one transaction. Lines that were rejected stand in a file, whose valid length is part of the state.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from stele.transfer_link import TransferConnection
from stele.transfer_target import Target

TABLE = "stele_import_progress"


class StateProblem(Exception):
    """The import cannot go on from what is noted."""


@dataclass(slots=True)
class State:
    """Everything before byte `position` was dealt with."""

    position: int = 0
    line: int = 0
    rejected_bytes: int = 0
    inserted: int = 0
    updated: int = 0
    skipped: int = 0
    rejected: int = 0


_NUMBERS = [field.name for field in fields(State)]


class StateStore:
    """The row of one file."""

    def __init__(self, link: TransferConnection, target: Target, source: str) -> None:
        self.link = link
        self.table = target.qualify(TABLE)
        self.source = f"{target.name} {source}"

    def prepare(self) -> None:
        columns = ", ".join(f"{name} int8 NOT NULL" for name in _NUMBERS)
        self.link.execute(
            f"CREATE TABLE IF NOT EXISTS {self.table} (source text PRIMARY KEY, {columns}, "
            "digest text NOT NULL, finished boolean NOT NULL, "
            "changed_at timestamptz NOT NULL DEFAULT now())"
        )

    def forget(self) -> None:
        self.link.run(f"DELETE FROM {self.table} WHERE source = $1", self.source)

    def read(self) -> tuple[State, str, bool] | None:
        """The state, the hash of the file up to there, and whether that was its end."""
        names = ", ".join(_NUMBERS)
        sql = f"SELECT {names}, digest, finished FROM {self.table} WHERE source = $1"
        rows, _ = self.link.run(sql, self.source)
        if not rows:
            return None
        *numbers, digest, finished = rows[0]
        found = State(*(int(one or "0") for one in numbers))
        return found, digest or "", finished == "t"

    def begin(self) -> None:
        """Notes that there is nothing yet."""
        zeros = ", ".join("0" for _ in _NUMBERS)
        sql = f"INSERT INTO {self.table} (source, {', '.join(_NUMBERS)}, digest, finished)"
        self.link.run(f"{sql} VALUES ($1, {zeros}, '', false)", self.source)

    def write(self, before: int, state: State, digest: str, finished: bool) -> None:
        """Within the transaction that stores the rows. Fails if another import has gone on."""
        sets = ", ".join(f"{name} = ${i}::int8" for i, name in enumerate(_NUMBERS, 5))
        _, changed = self.link.run(
            f"UPDATE {self.table} SET digest = $1, finished = $2::boolean, changed_at = now(), "
            f"{sets} WHERE source = $3 AND position = $4::int8",
            digest,
            "true" if finished else "false",
            self.source,
            str(before),
            *(str(getattr(state, name)) for name in _NUMBERS),
        )
        if changed != 1:
            raise StateProblem("another import of this file into this table is under way")
