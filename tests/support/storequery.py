"""Runs the queries of a schema as the runtime sends them: prepared, with generic plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stele.ddl_text import DdlOptions, ddl_text
from stele.diag import Diagnostics
from stele.frontend import read_schema
from stele.libpq import Connection, Row
from stele.lower_query import QueryStmt, lower_queries
from stele.partsql import AFTER, UNSET, VALUE, Names, Shape, Statement, render


@dataclass(frozen=True)
class After:
    """The server's time and an interval, as stele_ts_after() has it."""

    interval: str


Value = str | int | bool | None | Sequence[str | int | None] | After


def literal(value: Value) -> str:
    """A value as SQL."""
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            return quoted(value)
        case After():
            return quoted(value.interval)
        case _:
            return quoted("{" + ",".join(_element(one) for one in value) + "}")


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _element(value: str | int | None) -> str:
    if value is None:
        return "NULL"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


class Queries:
    """The queries of one module."""

    def __init__(self, path: Path, names: Names | None = None) -> None:
        diags = Diagnostics()
        schema = read_schema([path], diags)
        assert schema is not None, "\n".join(map(str, diags.sorted()))
        (self.module,) = schema.modules
        self.names = names or Names(module=self.module.name)
        stmts = lower_queries(self.module, schema).stmts
        self.stmts: dict[str, tuple[Statement, QueryStmt]] = {}
        self.labels: dict[str, dict[str, tuple[str, ...]]] = {}
        for query, stmt in zip(self.module.queries, stmts, strict=True):
            made = Statement(stmt.name, stmt.parts, stmt.params, {}, groups=stmt.groups)
            self.stmts[query.name] = (made, stmt)
            self.labels[query.name] = {one.name: one.labels for one in query.choices}
        self.params = {
            query.name: [param.name for param in query.params] for query in self.module.queries
        }

    def ddl(self, options: DdlOptions | None = None) -> str:
        return ddl_text(self.module, options or DdlOptions())

    def shape(self, name: str, args: Mapping[str, Value], chosen: Mapping[str, str]) -> Shape:
        known = self.params[name]
        assert set(args) <= set(known), sorted(set(args) - set(known))
        states = tuple(
            UNSET if one not in args else AFTER if isinstance(args[one], After) else VALUE
            for one in known
        )
        bits = 0
        left = dict(chosen)
        for switch, count, shift in self.stmts[name][1].switches:
            label = left.pop(switch, "")
            if label:
                labels = self.labels[name].get(switch, ("no", "yes"))
                assert count == len(labels)
                bits |= labels.index(label) << shift
        assert not left, f"{name} has no {left}"
        return Shape(states, bits=bits)


@dataclass
class Client:
    """One connection. Each call is one statement of its own, unless begin() came before."""

    queries: Queries
    url: str
    connection: Connection = field(init=False)
    prepared: dict[tuple[str, Shape], tuple[str, tuple[int, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.connection = Connection(self.url)
        self.sql("SET TimeZone = 'UTC'; SET plan_cache_mode = force_generic_plan")
        self.sql("SET synchronous_commit = off")  # what is shown here does not depend on the disk

    def close(self) -> None:
        self.connection.close()

    def sql(self, text: str) -> list[Row]:
        return self.connection.execute(text)

    def text(self, name: str, args: Mapping[str, Value], chosen: Mapping[str, str]) -> str:
        """The EXECUTE of a query, which is prepared if it is not yet."""
        shape = self.queries.shape(name, args, chosen)
        key = (name, shape)
        if key not in self.prepared:
            statement = self.queries.stmts[name][0]
            rendered = render(statement, shape, self.queries.names)
            types = ", ".join(statement.type_of(i, shape) for i in rendered.order)
            own = f"q{len(self.prepared)}_{name}"
            self.sql(f"PREPARE {own} ({types}) AS {rendered.text}")
            self.prepared[key] = (own, rendered.order)
        own, order = self.prepared[key]
        values = [args[self.queries.params[name][i]] for i in order]
        return f"EXECUTE {own} ({', '.join(map(literal, values))})"

    def run(
        self, name: str, args: Mapping[str, Value], chosen: Mapping[str, str] | None = None
    ) -> list[Row]:
        return self.sql(self.text(name, args, chosen or {}))

    def buffers(
        self, name: str, args: Mapping[str, Value], chosen: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """How many pages a query touches, and its plan."""
        text = self.text(name, args, chosen or {})
        plan = "\n".join(
            row[0] or "" for row in self.sql(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {text}")
        )
        return pages(plan), plan


def pages(plan: str) -> int:
    """The pages that the top node of a plan read, wherever they were."""
    line = next(line for line in plan.splitlines() if line.lstrip().startswith("Buffers:"))
    counts = {}
    for word in line.split("temp")[0].replace("Buffers: shared ", "").split():
        key, _, number = word.partition("=")
        counts[key] = int(number.rstrip(","))
    return counts.get("hit", 0) + counts.get("read", 0)
