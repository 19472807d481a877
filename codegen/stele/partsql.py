"""Renders the parts of statements as the runtime does, so that a server can judge every shape.

The runtime's own rendering is runtime/src/render.c; this is its twin for who has no C at hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from stele.lower_stmt import Stmt
from stele.sql import Part

# How a parameter arrives: its state in the shape.
UNSET, NULL, VALUE, NOW, AFTER = "unset", "null", "value", "now", "after"

# The types by which statements declare their parameters; "unknown" is for the server to find out.
SQL_TYPES: Final[Mapping[str, str]] = {
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


@dataclass(frozen=True, slots=True)
class Names:
    """The schema and prefix in force for a module's statements.

    `made_schema` stands in names that are made of the schema. Modules in `pins` have a schema of
    their own.
    """

    schema: str = ""
    prefix: str = ""
    made_schema: str = ""
    module: str = ""
    pins: Mapping[str, str] = field(default_factory=dict)

    def schema_of(self, module: str) -> str:
        return self.pins.get(module, self.schema)


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to call a statement. `bits` are what the switches of a query say.

    `listed` says of a statement that stores many rows that they come as VALUES, not as arrays.
    """

    states: tuple[str, ...]
    flags: frozenset[str] = frozenset()
    soft: bool = True
    bits: int = 0
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Switch:
    """A flag or choice of a query: `count` values from 0 at `shift` of the bits."""

    name: str
    count: int
    shift: int
    labels: tuple[str, ...] = ()  # of a choice


@dataclass(frozen=True, slots=True)
class Statement:
    """What is needed to render a statement in any of its shapes."""

    name: str
    parts: tuple[Part, ...]
    params: tuple[tuple[str, ...], ...]
    constants: Mapping[str, str]  # texts that parts share
    inputs_from: int = 0  # parameters before it are plain: always there
    set_range: tuple[int, int] | None = None  # one of these must be set
    groups: tuple[tuple[int, ...], ...] = ()  # parameters that are set together or not at all
    switches: tuple[Switch, ...] = ()
    arrays: frozenset[int] = frozenset()  # of many rows: parameters of columns that are arrays

    @property
    def stores_many(self) -> bool:
        return any(part.macro == "ROWS" for part in self.parts)

    @staticmethod
    def of(
        stmt: Stmt, constants: Mapping[str, str], array_columns: frozenset[str] = frozenset()
    ) -> Statement:
        """A statement of a table."""
        members = dict(stmt.members)
        set_range = None
        if "NEEDS_SET" in members.get("properties", ""):
            set_range = (int(members["set_from"]), int(members["set_to"]))
        first = int(members["shape_from"])
        arrays = {i for i, one in enumerate(stmt.params) if column_of(one) in array_columns}
        return Statement(
            stmt.name,
            stmt.parts,
            stmt.params,
            constants,
            first,
            set_range,
            arrays=frozenset(arrays),
        )

    def optional(self, index: int) -> bool:
        return index >= self.inputs_from and self.params[index][3] != "true"

    def refuses(self, shape: Shape) -> bool:
        """Whether the runtime refuses the call before any I/O, or makes another shape of it."""
        if self.stores_many:
            chosen = [i for i, state in enumerate(shape.states) if state != UNSET]
            return not chosen or (not shape.listed and bool(self.arrays.intersection(chosen)))
        if self.set_range is None:
            return False
        return all(state == UNSET for state in shape.states[slice(*self.set_range)])

    def type_of(self, index: int, shape: Shape) -> str:
        """The type declared for a parameter."""
        if shape.states[index] == AFTER:
            return "interval"
        param = self.params[index]
        name = SQL_TYPES[kind_of(param)]
        array = "ARRAY" in param[1] and name != "unknown"
        return f"{name}[]" if array and (not shape.listed or index in self.arrays) else name


@dataclass(frozen=True, slots=True)
class Rendered:
    """The SQL, and the parameters that its $1, $2, … stand for."""

    text: str
    order: tuple[int, ...]


def column_of(param: Sequence[str]) -> str:
    return param[0].strip('"')


def kind_of(param: Sequence[str]) -> str:
    return param[1].split(" ")[0].removeprefix("STELE_GEN_")


@dataclass(slots=True)
class _Renderer:
    names: Names
    shape: Shape
    params: Sequence[Sequence[str]] = ()
    constants: Mapping[str, str] = field(default_factory=dict)
    groups: Sequence[Sequence[int]] = ()
    out: list[str] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    first: bool = True

    def run(self, parts: Iterable[Part]) -> Rendered:
        taken = [True]
        for part in parts:
            if part.macro.startswith("IF_"):
                taken.append(taken[-1] and self.holds(part))
            elif part.macro == "ELSE":
                taken[-1] = taken[-2] and not taken[-1]
            elif part.macro == "END":
                taken.pop()
            elif taken[-1]:
                self.add(part)
        assert taken == [True]
        return Rendered("".join(self.out), tuple(self.order))

    def holds(self, part: Part) -> bool:
        states = self.shape.states
        match part.macro:
            case "IF_SET":
                return states[part.numbers[0]] != UNSET
            case "IF_UNSET":
                return states[part.numbers[0]] == UNSET
            case "IF_ANY":
                return any(state != UNSET for state in states[part.numbers[0] : part.numbers[1]])
            case "IF_ALL":
                return all(states[i] != UNSET for i in self.groups[part.numbers[0]])
            case "IF_FLAG":
                return self.flagged(part)
            case "IF_NO_FLAG":
                return not self.flagged(part)
            case "IF_CHOICE":
                return self.shape.bits & part.numbers[0] == part.numbers[1]
            case "IF_SOFT":
                return self.shape.soft
        raise AssertionError(part.macro)

    def flagged(self, part: Part) -> bool:
        if part.flags:
            return bool(self.shape.flags & set(part.flags))
        return bool(self.shape.bits & part.numbers[0])

    def add(self, part: Part) -> None:
        match part.macro:
            case "SQL":
                self.out.append(self.constants[part.shared] if part.shared else part.text or "")
            case "TABLE":
                self.out.append(self.table(part.text or ""))
            case "SCHEMA":
                schema = self.names.schema_of(self.names.module)
                self.out.append(f'"{schema}".' if schema else "")
            case "SCHEMA_":
                self.out.append(f"{self.names.made_schema}_" if self.names.made_schema else "")
            case "PREFIX":
                self.out.append(self.names.prefix)
            case "PARAM":
                self.out.append(self.expression(part.numbers[0]))
            case "LIST":
                self.first = True
            case "ITEM":
                self.item(part.text or "")
            case "ROWS":
                self.rows(part.numbers[0])
            case "WHERE_EQ" | "WHERE_GE" | "WHERE_LT":
                self.where(part)
            case _:
                assert part.macro.startswith("EACH_"), part.macro
                self.each(part.macro.removeprefix("EACH_"), *part.numbers)

    def table(self, name: str) -> str:
        module, _, base = name.rpartition(".")
        schema = self.names.schema_of(module or self.names.module)
        own = f'"{self.names.prefix}{base}"'
        return f'"{schema}".{own}' if schema else own

    def parameter(self, index: int) -> str:
        if index not in self.order:
            self.order.append(index)
        return f"${self.order.index(index) + 1}"

    def expression(self, index: int) -> str:
        now = "statement_timestamp()"
        if kind_of(self.params[index]) == "TIMESTAMP":
            now = f"({now} AT TIME ZONE 'UTC')"
        state = self.shape.states[index]
        if state == NOW:
            return now
        return f"({now} + {self.parameter(index)})" if state == AFTER else self.parameter(index)

    def item(self, text: str) -> None:
        self.out.append(text if self.first else f", {text}")
        self.first = False

    def each(self, what: str, start: int, end: int) -> None:
        for i in range(start, end):
            if self.shape.states[i] == UNSET:
                continue
            name = f'"{column_of(self.params[i])}"'
            if what == "NAME":
                self.item(name)
            elif what == "ROW":
                self.item(f"u.c{i}")
            elif what == "VALUE":
                self.item(self.expression(i))
            elif what == "SET":
                self.item(f"{name} = {self.expression(i)}")
            else:
                self.item(f"{name} = EXCLUDED.{name}")

    def rows(self, count: int) -> None:
        """Many rows: a column from each array, or one row to stand for all of a list."""
        chosen = [i for i in range(count) if self.shape.states[i] != UNSET]
        values = ", ".join(self.parameter(i) for i in chosen)
        names = ", ".join(f"c{i}" for i in chosen)
        if self.shape.listed:
            self.out.append(f"(VALUES ({values}, 1)) AS u({names}, n)")
        elif "STELE_FLAG_RETURNING" in self.shape.flags:
            self.out.append(f"unnest({values}) WITH ORDINALITY AS u({names}, n)")
        else:
            self.out.append(f"unnest({values}) AS u({names})")

    def where(self, part: Part) -> None:
        index = part.numbers[0]
        if self.shape.states[index] == UNSET:
            return
        if self.shape.states[index] == NULL:
            self.out.append(f"\n  AND {part.text} IS NULL")
            return
        operator = {"EQ": "=", "GE": ">=", "LT": "<"}[part.macro.removeprefix("WHERE_")]
        self.out.append(f"\n  AND {part.text} {operator} {self.expression(index)}")


def render(stmt: Statement, shape: Shape, names: Names) -> Rendered:
    """A statement in one shape."""
    return _Renderer(names, shape, stmt.params, stmt.constants, stmt.groups).run(stmt.parts)


def render_parts(parts: Iterable[Part], names: Names) -> str:
    """Parts that depend on names alone, such as those of DDL."""
    return _Renderer(names, Shape(())).run(parts).text
