"""What resolve hands to check: the schema, and what the model has no room for.

The model keeps names as plain strings; `Places` remembers where each one stood. `Gaps` remembers
what could not be read, so that its absence is not reported a second time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stele.model import Module, Schema, Span, Table

Place = tuple[str | int, ...]


@dataclass(slots=True)
class Places:
    """Where a part of a table stands: a path such as ("indexes", "lookup", "columns", 2)."""

    spans: dict[tuple[str, str, Place], Span] = field(default_factory=dict)

    def put(self, module: str, table: str, place: Place, span: Span) -> None:
        self.spans[module, table, place] = span

    def at(self, module: Module, table: Table, *place: str | int) -> Span:
        """The closest known place: the path itself, else a part of it, else the table."""
        while place:
            span = self.spans.get((module.name, table.name, place))
            if span is not None:
                return span
            place = place[:-1]
        return table.span


@dataclass(slots=True)
class Gaps:
    """Tables whose columns are not all known, modules whose tables are not, files unread."""

    tables: set[tuple[str, str]] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    # Indexes whose predicate could not be read: module, table, key.
    predicates: set[tuple[str, str, str]] = field(default_factory=set)
    files: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    schema: Schema
    places: Places
    gaps: Gaps
    unused_traits: dict[tuple[str, str], Span]  # traits that no table uses
    # Marked with spans_deleted: module, table, key.
    spans_deleted: frozenset[tuple[str, str, str]]
