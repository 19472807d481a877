"""Renders the parts of generated statements as the runtime does, so that a server can judge them.

The runtime's own rendering is in runtime/src/render.c; this one exists to try every shape of every
statement without C.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stele.lower_stmt import Stmt
from stele.sql import Part

# How a parameter arrives: its state in the shape.
UNSET, NULL, VALUE, NOW, AFTER = "unset", "null", "value", "now", "after"

_SQL_TYPES = {
    "BOOL": "bool",
    "INT2": "int2",
    "INT4": "int4",
    "INT8": "int8",
    "FLOAT4": "float4",
    "FLOAT8": "float8",
    "NUMERIC": "numeric",
    "TEXT": "text",
    "BPCHAR": "bpchar",
    "BYTEA": "bytea",
    "UUID": "uuid",
    "DATE": "date",
    "TIME": "time",
    "TIMESTAMP": "timestamp",
    "TIMESTAMPTZ": "timestamptz",
    "INTERVAL": "interval",
    "JSON": "json",
    "JSONB": "jsonb",
    "INET": "inet",
    "ENUM": "unknown",
    "OPAQUE": "unknown",
}


@dataclass(frozen=True)
class Shape:
    """One way to call a statement."""

    states: tuple[str, ...]
    flags: frozenset[str] = frozenset()
    soft: bool = True


def column_of(param: Sequence[str]) -> str:
    return param[0].strip('"')


def kind_of(param: Sequence[str]) -> str:
    return param[1].split(" ")[0].removeprefix("STELE_GEN_")


def sql_type(param: Sequence[str], state: str) -> str:
    """The type declared for a parameter."""
    if state == AFTER:
        return "interval"
    name = _SQL_TYPES[kind_of(param)]
    return f"{name}[]" if "ARRAY" in param[1] and name != "unknown" else name


def shape_from(stmt: Stmt) -> int:
    return int(dict(stmt.members)["shape_from"])


def plain(stmt: Stmt) -> tuple[str, ...]:
    """States with every input unset that may be."""
    first = shape_from(stmt)
    return tuple(
        VALUE if i < first or param[3] == "true" else UNSET for i, param in enumerate(stmt.params)
    )


def states_of(param: Sequence[str]) -> list[str]:
    """The states an input may have besides unset."""
    states = [VALUE]
    if param[2] == "STELE_GEN_IN_N":
        states.append(NULL)
    if kind_of(param) in ("TIMESTAMP", "TIMESTAMPTZ") and "ARRAY" not in param[1]:
        states += [NOW, AFTER]
    return states


def flags_of(stmt: Stmt) -> set[str]:
    return {flag for part in stmt.parts for flag in part.flags}


@dataclass
class _Renderer:
    stmt: Stmt
    shape: Shape
    constants: Mapping[str, str]
    schema: str
    prefix: str
    out: str
    order: list[int]
    first: bool = True

    def table(self, name: str) -> str:
        name = name.rpartition(".")[2]
        qualified = f'"{self.prefix}{name}"'
        return f'"{self.schema}".{qualified}' if self.schema else qualified

    def placeholder(self, index: int) -> str:
        if index not in self.order:
            self.order.append(index)
        return f"${self.order.index(index) + 1}"

    def expression(self, index: int) -> str:
        now = "statement_timestamp()"
        if kind_of(self.stmt.params[index]) == "TIMESTAMP":
            now = f"({now} AT TIME ZONE 'UTC')"
        state = self.shape.states[index]
        if state == NOW:
            return now
        return f"({now} + {self.placeholder(index)})" if state == AFTER else self.placeholder(index)

    def item(self, text: str) -> None:
        self.out += text if self.first else f", {text}"
        self.first = False

    def each(self, what: str, start: int, end: int) -> None:
        for i in range(start, end):
            if self.shape.states[i] == UNSET:
                continue
            name = f'"{column_of(self.stmt.params[i])}"'
            if what == "NAME":
                self.item(name)
            elif what == "VALUE":
                self.item(self.expression(i))
            elif what == "SET":
                self.item(f"{name} = {self.expression(i)}")
            else:
                self.item(f"{name} = EXCLUDED.{name}")

    def holds(self, part: Part) -> bool:
        states = self.shape.states
        match part.macro:
            case "IF_SET":
                return states[part.numbers[0]] != UNSET
            case "IF_UNSET":
                return states[part.numbers[0]] == UNSET
            case "IF_ANY":
                return any(state != UNSET for state in states[part.numbers[0] : part.numbers[1]])
            case "IF_FLAG":
                return bool(self.shape.flags & set(part.flags))
            case "IF_NO_FLAG":
                return not self.shape.flags & set(part.flags)
            case "IF_SOFT":
                return self.shape.soft
        raise AssertionError(part.macro)

    def add(self, part: Part) -> None:
        match part.macro:
            case "SQL":
                self.out += self.constants[part.shared] if part.shared else part.text or ""
            case "TABLE":
                self.out += self.table(part.text or "")
            case "PARAM":
                self.out += self.expression(part.numbers[0])
            case "LIST":
                self.first = True
            case "ITEM":
                self.item(part.text or "")
            case "WHERE_EQ" | "WHERE_GE" | "WHERE_LT":
                self.where(part)
            case _:
                assert part.macro.startswith("EACH_"), part.macro
                self.each(part.macro.removeprefix("EACH_"), *part.numbers)

    def where(self, part: Part) -> None:
        index = part.numbers[0]
        if self.shape.states[index] == UNSET:
            return
        if self.shape.states[index] == NULL:
            self.out += f"\n  AND {part.text} IS NULL"
            return
        operator = {"EQ": "=", "GE": ">=", "LT": "<"}[part.macro.removeprefix("WHERE_")]
        self.out += f"\n  AND {part.text} {operator} {self.expression(index)}"


def render(
    stmt: Stmt,
    shape: Shape,
    constants: Mapping[str, str],
    schema: str = "",
    prefix: str = "",
) -> tuple[str, list[int]]:
    """The SQL, and the parameters that its $1, $2, … stand for."""
    renderer = _Renderer(stmt, shape, constants, schema, prefix, "", [])
    taken = [True]
    for part in stmt.parts:
        if part.macro.startswith("IF_"):
            taken.append(taken[-1] and renderer.holds(part))
        elif part.macro == "ELSE":
            taken[-1] = taken[-2] and not taken[-1]
        elif part.macro == "END":
            taken.pop()
        elif taken[-1]:
            renderer.add(part)
    assert taken == [True]
    return renderer.out, renderer.order


def shapes(stmt: Stmt) -> Iterator[Shape]:
    """Every kind of shape: nothing set, all set, each input alone in each state, each flag."""
    base = plain(stmt)
    first = shape_from(stmt)
    yield Shape(base)
    yield Shape(base, soft=False)
    yield Shape(tuple(VALUE for _ in base))
    for i in range(first, len(base)):
        for state in states_of(stmt.params[i]):
            yield Shape((*base[:i], state, *base[i + 1 :]))
    flags = sorted(flags_of(stmt))
    for flag in flags:
        yield Shape(base, frozenset({flag}))
        yield Shape(tuple(VALUE for _ in base), frozenset({flag}))
