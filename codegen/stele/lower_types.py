"""What each type of the schema language is in C, on the wire and in the catalog."""

from __future__ import annotations

from dataclasses import dataclass

from stele.model import Column, Identity, Scalar, Type
from stele.names import c_global, sql_ident


@dataclass(frozen=True, slots=True)
class _Facts:
    gen: str  # STELE_GEN_<gen>
    c: str
    suffix: str  # of stele_in_<suffix>, stele_opt_<suffix>, stele_<suffix>_array
    catalog: str  # format_type()
    ddl: str
    equal: bool = True  # may be filtered by equality
    ordered: bool = False  # may be filtered by range
    optional: bool = True  # NULL in a row needs stele_opt_*; else its pointer is NULL


_FACTS: dict[Scalar, _Facts] = {
    Scalar.BOOL: _Facts("BOOL", "bool", "bool", "boolean", "boolean"),
    Scalar.INT2: _Facts("INT2", "int16_t", "i16", "smallint", "smallint", ordered=True),
    Scalar.INT4: _Facts("INT4", "int32_t", "i32", "integer", "integer", ordered=True),
    Scalar.INT8: _Facts("INT8", "int64_t", "i64", "bigint", "bigint", ordered=True),
    Scalar.FLOAT4: _Facts("FLOAT4", "float", "f32", "real", "real", ordered=True),
    Scalar.FLOAT8: _Facts(
        "FLOAT8", "double", "f64", "double precision", "double precision", ordered=True
    ),
    Scalar.NUMERIC: _Facts(
        "NUMERIC", "stele_str", "str", "numeric", "numeric", ordered=True, optional=False
    ),
    Scalar.TEXT: _Facts("TEXT", "stele_str", "str", "text", "text", optional=False),
    Scalar.VARCHAR: _Facts(
        "TEXT", "stele_str", "str", "character varying", "varchar", optional=False
    ),
    Scalar.CHAR: _Facts("BPCHAR", "stele_str", "str", "character", "char", optional=False),
    Scalar.BYTEA: _Facts(
        "BYTEA", "stele_bytes", "bytes", "bytea", "bytea", equal=False, optional=False
    ),
    Scalar.UUID: _Facts("UUID", "stele_uuid", "uuid", "uuid", "uuid"),
    Scalar.DATE: _Facts("DATE", "stele_date", "date", "date", "date", ordered=True),
    Scalar.TIME: _Facts(
        "TIME", "stele_time", "time", "time without time zone", "time", ordered=True
    ),
    Scalar.TIMESTAMP: _Facts(
        "TIMESTAMP", "stele_ts", "ts", "timestamp without time zone", "timestamp", ordered=True
    ),
    Scalar.TIMESTAMPTZ: _Facts(
        "TIMESTAMPTZ", "stele_ts", "ts", "timestamp with time zone", "timestamptz", ordered=True
    ),
    Scalar.INTERVAL: _Facts("INTERVAL", "stele_interval", "interval", "interval", "interval"),
    Scalar.JSON: _Facts("JSON", "stele_str", "str", "json", "json", equal=False, optional=False),
    Scalar.JSONB: _Facts(
        "JSONB", "stele_str", "str", "jsonb", "jsonb", equal=False, optional=False
    ),
    Scalar.INET: _Facts("INET", "stele_inet", "inet", "inet", "inet"),
    Scalar.ENUM: _Facts("ENUM", "", "", "", ""),
    Scalar.OPAQUE: _Facts("OPAQUE", "stele_str", "str", "", "", equal=False, optional=False),
}

_SERIALS = {Scalar.INT2: "smallserial", Scalar.INT4: "serial", Scalar.INT8: "bigserial"}
_KEPT_AS_TEXT = {Scalar.NUMERIC, Scalar.JSON, Scalar.JSONB, Scalar.OPAQUE}


@dataclass(frozen=True, slots=True)
class CType:
    """A type in C. `enum` is the C name of an enum type, '' for others."""

    value: str  # NOT NULL member of a row, and a plain parameter
    optional: str  # nullable member of a row
    input: str  # wrapper of an input; + "_n" for nullable columns
    gen: str  # STELE_GEN_… expression
    enum: str
    wrapped: bool  # `optional` differs from `value`


def enum_name(c_prefix: str, name: str) -> str:
    return c_global(c_prefix + name)


def c_type(kind: Type, c_prefixes: dict[str, str]) -> CType:
    """`c_prefixes` is each module's, by name: enums of other modules carry theirs."""
    facts = _FACTS[kind.scalar]
    gen = f"STELE_GEN_{facts.gen}"
    if kind.scalar is Scalar.ENUM:
        enum = enum_name(c_prefixes[kind.enum_module], kind.name)
        if kind.array:
            array = f"{enum}_array"
            return CType(array, array, f"{array}_in", f"{gen} | STELE_GEN_ARRAY", enum, False)
        return CType(enum, f"{enum}_opt", f"{enum}_in", gen, enum, True)
    if kind.array:
        array = f"stele_{facts.suffix}_array"
        wrapper = f"stele_in_{facts.suffix}_array"
        return CType(array, array, wrapper, f"{gen} | STELE_GEN_ARRAY", "", False)
    optional = f"stele_opt_{facts.suffix}" if facts.optional else facts.c
    return CType(facts.c, optional, f"stele_in_{facts.suffix}", gen, "", facts.optional)


def has_equality(kind: Type) -> bool:
    return _FACTS[kind.scalar].equal and not kind.array


def has_range(kind: Type) -> bool:
    return _FACTS[kind.scalar].ordered and not kind.array


def modifier(kind: Type) -> str:
    """What limits a value, as descriptors have it: a length, or precision and scale."""
    if kind.length is not None:
        return str(kind.length)
    if kind.precision is not None:
        return f"{kind.precision} << 16 | {(kind.scale or 0) & 0x7FF}"
    return "0"


def row_note(col: Column) -> str:
    """What a reader of the row struct must know and the C type does not say."""
    notes = []
    facts = _FACTS[col.type.scalar]
    if col.type.scalar in _KEPT_AS_TEXT and not col.type.array:
        notes.append(col.type.name or facts.catalog)
    if col.nullable and (col.type.array or not facts.optional):
        notes.append("may be NULL")
    return ", ".join(notes)


def _modifier_text(kind: Type) -> str:
    if kind.length is not None:
        return f"({kind.length})"
    if kind.precision is not None:
        return f"({kind.precision})" if kind.scale is None else f"({kind.precision},{kind.scale})"
    return ""


def catalog_type(kind: Type) -> str:
    """As format_type() of the server says it; of an enum the base name."""
    brackets = "[]" if kind.array else ""
    if kind.scalar in (Scalar.ENUM, Scalar.OPAQUE):
        return kind.name + brackets
    text = _modifier_text(kind)
    if kind.scalar is Scalar.NUMERIC and kind.precision is not None:
        text = f"({kind.precision},{kind.scale or 0})"
    if kind.scalar is Scalar.CHAR and kind.length is None:
        text = "(1)"
    return _FACTS[kind.scalar].catalog + text + brackets


def ddl_type(col: Column) -> str:
    """As CREATE TABLE has it; an enum's name is for the caller to place before the brackets."""
    kind = col.type
    if col.identity is Identity.SERIAL:
        return _SERIALS[kind.scalar]
    brackets = "[]" if kind.array else ""
    if kind.scalar is Scalar.OPAQUE:
        return kind.name + brackets
    if kind.scalar is Scalar.ENUM:
        return brackets
    return _FACTS[kind.scalar].ddl + _modifier_text(kind) + brackets


def select_item(col: Column, alias: str = "t") -> str:
    """The column in a select list: opaque types travel as text."""
    name = f"{alias}.{sql_ident(col.name)}"
    if col.type.scalar is not Scalar.OPAQUE:
        return name
    brackets = "[]" if col.type.array else ""
    return f"{name}::text{brackets} AS {sql_ident(col.name)}"
