"""Which result columns an outer join may make NULL, found in the tree of a statement.

The server tells the table that a column comes from, but not what a join does to it. The tree comes
from pglast (Debian's python3-pglast), whose parser is PostgreSQL's own; without it nothing is
known. Only columns that pass through unchanged are followed, also out of subqueries and WITH: what
an expression gives is for its author to declare.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Final

_NULLED: Final = {  # whether the left and the right side of a join may be missing
    "JOIN_LEFT": (False, True),
    "JOIN_RIGHT": (True, False),
    "JOIN_FULL": (True, True),
}
_DEEPEST: Final = 200


def load() -> ModuleType | None:
    """pglast, if it is installed."""
    try:
        return importlib.import_module("pglast")
    except ImportError:
        return None


@dataclass(frozen=True, slots=True)
class _Output:
    name: str
    null: bool


@dataclass(frozen=True, slots=True)
class _Relation:
    """What stands in FROM. A table has neither outputs nor stars."""

    table: str = ""
    outputs: tuple[_Output, ...] = ()
    stars: tuple[_Source, ...] = ()

    def null(self, column: str) -> bool:
        for output in self.outputs:
            if output.name == column:
                return output.null
        # Which of several it is that has the column is not to be seen.
        return bool(self.stars) and all(star.null(column) for star in self.stars)


@dataclass(frozen=True, slots=True)
class _Source:
    """A relation under the name that a query has for it; `missing` where a join found no row."""

    alias: str
    relation: _Relation
    missing: bool

    def null(self, column: str) -> bool:
        return self.missing or self.relation.null(column)


def nulled(pglast: ModuleType, text: str, tables: Sequence[str]) -> list[bool]:
    """For each result column whether an outer join may make it NULL; [] if that is not to be known.

    `tables` are the names of the tables that the columns come from, '' for none.
    """
    try:
        statements = pglast.parse_sql(text)
    except Exception:  # its exceptions differ between versions; the server took the statement
        return []
    if len(statements) != 1:
        return []
    relation = _Reader().relation(statements[0].stmt, tables)
    return [] if relation.stars else [output.null for output in relation.outputs]


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one statement; `ctes` are the WITH queries that it sees."""

    ctes: Mapping[str, _Relation] = field(default_factory=dict)
    depth: int = 0

    def relation(self, stmt: Any, tables: Sequence[str] = ()) -> _Relation:
        """What a statement gives."""
        if self.depth > _DEEPEST:
            return _Relation()
        reader = self.with_ctes(getattr(stmt, "withClause", None))
        match type(stmt).__name__:
            case "SelectStmt":
                return reader.select(stmt, tables)
            case "InsertStmt":
                return reader.targets(stmt.returningList, [reader.target(stmt.relation)], tables)
            case "UpdateStmt" | "DeleteStmt":
                more = getattr(stmt, "fromClause", None) or getattr(stmt, "usingClause", None)
                sources = [reader.target(stmt.relation), *reader.sources(more or ())]
                return reader.targets(stmt.returningList, sources, tables)
        return _Relation()

    def with_ctes(self, clause: Any) -> _Reader:
        reader = replace(self, depth=self.depth + 1)
        for one in clause.ctes if clause else ():
            # A recursive one sees itself as what nothing is known of.
            inner = replace(reader, ctes={**reader.ctes, one.ctename: _Relation()})
            relation = _renamed(inner.relation(one.ctequery), one.aliascolnames)
            reader = replace(reader, ctes={**reader.ctes, one.ctename: relation})
        return reader

    def select(self, stmt: Any, tables: Sequence[str]) -> _Relation:
        if stmt.larg is not None and stmt.rarg is not None:
            left, right = self.relation(stmt.larg), self.relation(stmt.rarg)
            if left.stars or right.stars:
                return _Relation(stars=(*left.stars, *right.stars))
            pairs = zip(left.outputs, right.outputs, strict=False)
            return _Relation(outputs=tuple(_Output(a.name, a.null or b.null) for a, b in pairs))
        if stmt.valuesLists:
            count = len(stmt.valuesLists[0])
            return _Relation(outputs=tuple(_Output(f"column{i + 1}", False) for i in range(count)))
        return self.targets(stmt.targetList, list(self.sources(stmt.fromClause or ())), tables)

    # ---- FROM ----

    def target(self, node: Any) -> _Source:
        """The table that a statement changes."""
        alias = node.alias.aliasname if node.alias else node.relname
        return _Source(alias, _Relation(node.relname), False)

    def sources(self, nodes: Iterable[Any], missing: bool = False) -> Iterable[_Source]:
        for node in nodes:
            yield from self.source(node, missing)

    def source(self, node: Any, missing: bool) -> Iterable[_Source]:
        kind = type(node).__name__
        alias = getattr(node, "alias", None)
        name = alias.aliasname if alias else getattr(node, "relname", "")
        columns = alias.colnames if alias else None
        if kind == "JoinExpr":
            left, right = _NULLED.get(node.jointype.name, (False, False))
            inside = (
                *self.source(node.larg, missing or left),
                *self.source(node.rarg, missing or right),
            )
            if alias:
                yield _Source(name, _Relation(stars=inside), False)
            else:
                yield from inside
        elif kind == "RangeVar":
            known = None if node.schemaname else self.ctes.get(node.relname)
            yield _Source(name, _renamed(known or _Relation(node.relname), columns), missing)
        elif kind == "RangeSubselect":
            yield _Source(name, _renamed(self.relation(node.subquery), columns), missing)
        else:  # a function
            yield _Source(name, _Relation(), missing)

    # ---- results ----

    def targets(self, items: Any, sources: Sequence[_Source], tables: Sequence[str]) -> _Relation:
        outputs: list[_Output] = []
        stars: list[_Source] = []
        for i, item in enumerate(items or ()):
            fields = _fields(item.val)
            if fields and fields[-1] is None:
                stars += [one for one in sources if len(fields) < 2 or one.alias == fields[-2]]
                continue
            table = tables[i] if i < len(tables) else ""
            null = bool(fields) and _null([str(one) for one in fields], sources, table)
            outputs.append(_Output(item.name or (fields[-1] if fields else "") or "", null))
        return _Relation(outputs=tuple(outputs), stars=tuple(stars))


def _null(fields: Sequence[str], sources: Sequence[_Source], table: str) -> bool:
    """Whether a column of these sources may be NULL for the joins that it went through."""
    if len(fields) > 1:
        meant = [one for one in sources if one.alias == fields[-2]]
    else:
        meant = [one for one in sources if len(sources) == 1 or one.relation.table == table]
    return len(meant) == 1 and meant[0].null(fields[-1])


def _fields(node: Any) -> list[str | None]:
    """The names of a column, None for a star; [] if the expression is more than a column."""
    while type(node).__name__ in ("TypeCast", "CollateClause"):
        node = node.arg
    if type(node).__name__ != "ColumnRef":
        return []
    return [None if type(one).__name__ == "A_Star" else _word(one) for one in node.fields]


def _word(node: Any) -> str:
    """The text of a name: attributes differ between versions of pglast."""
    return str(node.sval if hasattr(node, "sval") else node.val)


def _renamed(relation: _Relation, names: Any) -> _Relation:
    """The same with the column names of an alias."""
    words = [_word(one) for one in names or ()]
    outputs = [
        _Output(words[i], one.null) if i < len(words) else one
        for i, one in enumerate(relation.outputs)
    ]
    return replace(relation, outputs=tuple(outputs))
