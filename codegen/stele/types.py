"""The type names of the schema language and how a type is written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from stele.model import Scalar, Type
from stele.names import words
from stele.suggest import remedy

VARCHAR_MAX: Final = 10_485_760
NUMERIC_PRECISION_MAX: Final = 1000

# Every spelling of a type that needs no module to be understood.
SPELLINGS: Final[dict[str, Scalar]] = {
    "bool": Scalar.BOOL,
    "boolean": Scalar.BOOL,
    "int2": Scalar.INT2,
    "smallint": Scalar.INT2,
    "int4": Scalar.INT4,
    "int": Scalar.INT4,
    "integer": Scalar.INT4,
    "int8": Scalar.INT8,
    "bigint": Scalar.INT8,
    "float4": Scalar.FLOAT4,
    "real": Scalar.FLOAT4,
    "float8": Scalar.FLOAT8,
    "float": Scalar.FLOAT8,
    "double precision": Scalar.FLOAT8,
    "numeric": Scalar.NUMERIC,
    "decimal": Scalar.NUMERIC,
    "text": Scalar.TEXT,
    "varchar": Scalar.VARCHAR,
    "character varying": Scalar.VARCHAR,
    "char": Scalar.CHAR,
    "character": Scalar.CHAR,
    "bytea": Scalar.BYTEA,
    "uuid": Scalar.UUID,
    "date": Scalar.DATE,
    "time": Scalar.TIME,
    "time without time zone": Scalar.TIME,
    "timestamp": Scalar.TIMESTAMP,
    "timestamp without time zone": Scalar.TIMESTAMP,
    "timestamptz": Scalar.TIMESTAMPTZ,
    "timestamp with time zone": Scalar.TIMESTAMPTZ,
    "interval": Scalar.INTERVAL,
    "json": Scalar.JSON,
    "jsonb": Scalar.JSONB,
    "inet": Scalar.INET,
}

SERIALS: Final[dict[str, Scalar]] = {
    "smallserial": Scalar.INT2,
    "serial2": Scalar.INT2,
    "serial": Scalar.INT4,
    "serial4": Scalar.INT4,
    "bigserial": Scalar.INT8,
    "serial8": Scalar.INT8,
}

# What other languages and databases call them. A likeness in spelling would mislead: an int64 is no
# int4, and a datetime no time.
ELSEWHERE: Final[dict[str, str]] = {
    "string": "text",
    "str": "text",
    "clob": "text",
    "longtext": "text",
    "nvarchar": "varchar",
    "varchar2": "varchar",
    "tinyint": "int2",
    "int16": "int2",
    "int32": "int4",
    "mediumint": "int4",
    "int64": "int8",
    "long": "int8",
    "double": "float8",
    "number": "numeric",
    "blob": "bytea",
    "bytes": "bytea",
    "binary": "bytea",
    "varbinary": "bytea",
    "guid": "uuid",
    "datetime": "timestamptz",
}

# Types of the server that the language has no word for: they travel as text.
FOREIGN: Final[frozenset[str]] = words(
    """
    bit varbit money xml cidr macaddr macaddr8 point line lseg box path polygon circle tsvector
    tsquery int4range int8range numrange tsrange tstzrange daterange int4multirange int8multirange
    nummultirange tsmultirange tstzmultirange datemultirange oid name regclass pg_lsn citext hstore
    ltree geometry geography vector timetz xid8 jsonpath bpchar
    """
)

INTEGERS: Final = frozenset({Scalar.INT2, Scalar.INT4, Scalar.INT8})
STRINGS: Final = frozenset({Scalar.TEXT, Scalar.VARCHAR, Scalar.CHAR})
TIMESTAMPS: Final = frozenset({Scalar.TIMESTAMP, Scalar.TIMESTAMPTZ})

# Stands for a type that could not be read; checks pass over it.
UNKNOWN: Final = Type(Scalar.OPAQUE, name="")

_SHAPE: Final = re.compile(
    r"(?P<name>[A-Za-z_][A-Za-z0-9_. ]*?)\s*(?:\((?P<args>.*)\))?(?P<tail> [A-Za-z ]+?)?"
    r"\s*(?P<array>(?:\[\s*\d*\s*\])*)\s*(?P<null>\?*)"
)
_OPAQUE_SQL: Final = re.compile(r'[A-Za-z_"][A-Za-z0-9_ ."(),\[\]]*')


@dataclass(frozen=True, slots=True)
class TypeText:
    """A type as written. An enum's `scalar` is None and its name is still to be looked up."""

    scalar: Scalar | None
    name: str
    arguments: tuple[int, ...] = ()
    array: bool = False
    nullable: bool = False
    serial: bool = False


class TypeProblem(Exception):
    """A type that cannot be; `code`, message and hint as in a diagnostic."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def is_unknown(type_: Type) -> bool:
    return type_.scalar is Scalar.OPAQUE and not type_.name


def unknown_remedy(name: str, known: Iterable[str], otherwise: str) -> str:
    """What to write in place of a type that does not exist."""
    if name.lower() in ELSEWHERE:
        return f'did you mean "{ELSEWHERE[name.lower()]}"?'
    hint = remedy(name, known, "type")
    return otherwise if hint.startswith(("declare", "known")) else hint


def parse(text: str) -> TypeText:
    """Reads a type such as `varchar(255)?`; raises TypeProblem."""
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise TypeProblem(
            "S017", f'"{text}" is not a type', "write it like varchar(255), text[] or int8?"
        )
    if len(match["null"]) > 1:
        raise TypeProblem("S022", f'"{text}" has more than one "?"', 'one "?" says nullable')
    nullable = bool(match["null"])
    brackets = re.sub(r"\s", "", match["array"] or "")
    if brackets not in ("", "[]"):
        raise TypeProblem(
            "S022",
            f'"{text}" is not a one-dimensional array of any length',
            'write "[]" once and without a size',
        )
    name = " ".join((match["name"] + (match["tail"] or "")).split())
    if name.lower() == "opaque":
        return _opaque(text, match["args"], bool(brackets), nullable)
    return _plain(name, match["args"], bool(brackets), nullable)


def _plain(name: str, args: str | None, array: bool, nullable: bool) -> TypeText:
    word = name.lower()
    if word in SERIALS:
        if args is not None:
            raise TypeProblem("S022", f"{word} takes no arguments", f"write {word}")
        if array or nullable:
            what = "an array" if array else "nullable"
            raise TypeProblem(
                "S023",
                f"{word} cannot be {what}",
                f"write {word} alone: its column is a NOT NULL integer",
            )
        return TypeText(SERIALS[word], word, serial=True)
    scalar = SPELLINGS.get(word)
    if scalar is None:
        if word in FOREIGN or args is not None:
            whole = name + (f"({args})" if args is not None else "")
            if word in FOREIGN or word.startswith(("bit", "time")):
                raise TypeProblem(
                    "S017",
                    f'the schema language has no type "{whole}"',
                    f'declare it "opaque({whole})": it travels as text',
                )
        return TypeText(None, name, _numbers(name, args), array, nullable)
    return TypeText(scalar, word, _arguments(word, scalar, args), array, nullable)


def _opaque(text: str, args: str | None, array: bool, nullable: bool) -> TypeText:
    inner = (args or "").strip()
    if not inner or not _OPAQUE_SQL.fullmatch(inner) or inner.count("(") != inner.count(")"):
        raise TypeProblem(
            "S022", f'"{text}" names no SQL type', "write opaque(macaddr), with the type's SQL name"
        )
    if array:
        raise TypeProblem(
            "S022", "an opaque type cannot have [] outside", f'write "opaque({inner}[])"'
        )
    if inner.lower() in SPELLINGS or inner.lower() in SERIALS:
        raise TypeProblem(
            "S022", f'"{inner}" is a type of the schema language', f"write {inner} without opaque"
        )
    return TypeText(Scalar.OPAQUE, inner, nullable=nullable)


def _numbers(name: str, args: str | None) -> tuple[int, ...]:
    if args is None:
        return ()
    parts = [part.strip() for part in args.split(",")]
    if not all(re.fullmatch(r"-?[0-9]{1,9}", part) for part in parts):
        raise TypeProblem(
            "S022",
            f'"{args}" are no arguments for {name}',
            "arguments are whole numbers, as in varchar(255)",
        )
    return tuple(int(part) for part in parts)


def _arguments(word: str, scalar: Scalar, args: str | None) -> tuple[int, ...]:
    numbers = _numbers(word, args)
    if not numbers:
        return ()
    if scalar in (Scalar.VARCHAR, Scalar.CHAR):
        if len(numbers) != 1 or not 1 <= numbers[0] <= VARCHAR_MAX:
            raise TypeProblem(
                "S022", f"{word} takes one length from 1 to {VARCHAR_MAX}", "use text for no limit"
            )
    elif scalar is Scalar.NUMERIC:
        if len(numbers) > 2 or not 1 <= numbers[0] <= NUMERIC_PRECISION_MAX:
            raise TypeProblem(
                "S022",
                f"{word} takes a precision from 1 to {NUMERIC_PRECISION_MAX} and a scale",
                "write numeric(12,2), or numeric for no limit",
            )
        if len(numbers) == 2 and not 0 <= numbers[1] <= numbers[0]:
            raise TypeProblem(
                "S022",
                f"scale {numbers[1]} is not between 0 and the precision {numbers[0]}",
                "write numeric(12,2)",
            )
    elif scalar in TIMESTAMPS or scalar in (Scalar.TIME, Scalar.INTERVAL):
        raise TypeProblem(
            "S022",
            f"{word} takes no precision: values keep their microseconds",
            f'write {word}, or "opaque({word}({args}))"',
        )
    else:
        raise TypeProblem("S022", f"{word} takes no arguments", f"write {word}")
    return numbers


def build(written: TypeText, enum_module: str = "") -> Type:
    """The model's type. For an enum the caller has found the module that declares it."""
    if written.scalar is None:
        return Type(
            Scalar.ENUM,
            written.array,
            name=written.name.rpartition(".")[2],
            enum_module=enum_module,
        )
    if written.scalar is Scalar.OPAQUE:
        return Type(Scalar.OPAQUE, name=written.name)
    if written.scalar is Scalar.CHAR and not written.arguments:
        return Type(Scalar.CHAR, written.array, length=1)
    if written.scalar in (Scalar.CHAR, Scalar.VARCHAR) and written.arguments:
        return Type(written.scalar, written.array, length=written.arguments[0])
    if written.scalar is Scalar.NUMERIC and written.arguments:
        scale = written.arguments[1] if len(written.arguments) > 1 else 0
        return Type(written.scalar, written.array, precision=written.arguments[0], scale=scale)
    return Type(written.scalar, written.array)


def text_of(type_: Type) -> str:
    """The type as a schema file would have it, for messages."""
    name = type_.scalar.value
    if type_.scalar is Scalar.ENUM:
        name = type_.name
    elif type_.scalar is Scalar.OPAQUE:
        name = f"opaque({type_.name})"
    elif type_.length is not None:
        name = f"{name}({type_.length})"
    elif type_.precision is not None:
        name = f"{name}({type_.precision},{type_.scale})"
    return name + ("[]" if type_.array else "")
