"""Values of the schema's types as text: checked before they are sent, and as files have them.

A record holds JSON values (or, from CSV, text). What comes out of here is the text that the server
reads, or a reason why it would not.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stele.model import Column, EnumType, Scalar, Schema, Type
from stele.names import sql_ident


class ValueProblem(Exception):
    """A value that its column cannot hold."""


class RawNumber(str):
    """A JSON number as it was written."""


Json = None | bool | str | RawNumber | list["Json"] | dict[str, "Json"]

_RANGES: Final = {Scalar.INT2: 2**15, Scalar.INT4: 2**31, Scalar.INT8: 2**63}
_INTEGER: Final = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
_NUMBER: Final = re.compile(
    r"\s*(?:[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|nan|[+-]?inf(?:inity)?)\s*",
    re.ASCII | re.IGNORECASE,
)
_HEX: Final = re.compile(r"\\x(?:[0-9a-f]{2}|\s)*", re.ASCII | re.IGNORECASE)
_UUID: Final = re.compile(r"\{?[0-9a-f]{4}(?:-?[0-9a-f]{4}){7}\}?", re.ASCII | re.IGNORECASE)
_TRUE: Final = frozenset({"t", "true", "y", "yes", "on", "1"})
_FALSE: Final = frozenset({"f", "false", "n", "no", "off", "0"})
_MOMENT: Final = re.compile(r"\s*(?:\d|[+-]?infinity|now|today|epoch|tomorrow|yesterday)", re.I)


def write_json(value: Json) -> str:
    """JSON text, its numbers as they were written."""
    if isinstance(value, RawNumber):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(write_json(one) for one in value) + "]"
    if isinstance(value, dict):
        members = (f"{_quoted(key)}: {write_json(one)}" for key, one in value.items())
        return "{" + ", ".join(members) + "}"
    return json.dumps(value, ensure_ascii=False)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def read_json(text: str) -> Json:
    """Raises ValueError."""
    found: Json = json.loads(
        text, parse_int=RawNumber, parse_float=RawNumber, parse_constant=RawNumber
    )
    return found


# ---- one value ----


def _integer(text: str, kind: Type) -> None:
    if not _INTEGER.fullmatch(text):
        raise ValueProblem("is no integer")
    limit = _RANGES[kind.scalar]
    if not -limit <= int(text) < limit:
        raise ValueProblem(f"does not fit {kind.scalar.value}")


def _number(text: str, kind: Type) -> None:
    if not _NUMBER.fullmatch(text):
        raise ValueProblem("is no number")
    digits = re.match(r"\s*[+-]?0*(\d*)(?:\.|\s*$)", text)
    if kind.precision is not None and digits:
        whole = kind.precision - (kind.scale or 0)
        if len(digits[1]) > whole:
            raise ValueProblem(f"does not fit numeric({kind.precision},{kind.scale or 0})")


def _boolean(text: str, kind: Type) -> None:
    if text.strip().lower() not in _TRUE | _FALSE:
        raise ValueProblem("is neither true nor false")


def _length(text: str, kind: Type) -> None:
    limit = 1 if kind.scalar is Scalar.CHAR and kind.length is None else kind.length
    size = len(text.rstrip(" ") if kind.scalar is Scalar.CHAR else text)
    if limit is not None and size > limit:
        raise ValueProblem(f"has {size} characters, at most {limit} fit")


def _json(text: str, kind: Type) -> None:
    try:
        json.loads(text)
    except ValueError as error:
        raise ValueProblem(f"is no JSON: {error}") from error
    if kind.scalar is Scalar.JSONB and "\\u0000" in text:
        raise ValueProblem("contains \\u0000, which jsonb cannot hold")


def _inet(text: str, kind: Type) -> None:
    try:
        ipaddress.ip_interface(text.strip())
    except ValueError as error:
        raise ValueProblem("is no network address") from error


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str, Type], None]:
    def check(text: str, kind: Type) -> None:
        if not pattern.match(text):
            raise ValueProblem(what)

    return check


_CHECKS: Final[dict[Scalar, Callable[[str, Type], None]]] = {
    Scalar.BOOL: _boolean,
    Scalar.INT2: _integer,
    Scalar.INT4: _integer,
    Scalar.INT8: _integer,
    Scalar.FLOAT4: _number,
    Scalar.FLOAT8: _number,
    Scalar.NUMERIC: _number,
    Scalar.VARCHAR: _length,
    Scalar.CHAR: _length,
    Scalar.BYTEA: _matching(re.compile(f"(?:{_HEX.pattern})$", re.I), "is no \\x… in hex digits"),
    Scalar.UUID: _matching(re.compile(f"(?:{_UUID.pattern})$", re.I), "is no uuid"),
    Scalar.DATE: _matching(_MOMENT, "is no date"),
    Scalar.TIMESTAMP: _matching(_MOMENT, "is no time"),
    Scalar.TIMESTAMPTZ: _matching(_MOMENT, "is no time"),
    Scalar.JSON: _json,
    Scalar.JSONB: _json,
    Scalar.INET: _inet,
}
_JSON_TYPES: Final = {Scalar.JSON, Scalar.JSONB}


def _scalar_text(value: Json, kind: Type, labels: tuple[str, ...]) -> str:
    """The text of one value that is not NULL."""
    if kind.scalar in _JSON_TYPES and not isinstance(value, str | RawNumber):
        text = write_json(value)
    elif isinstance(value, bool):
        text = "true" if value else "false"
        if kind.scalar is not Scalar.BOOL:
            raise ValueProblem("is true or false, which the column is not")
    elif isinstance(value, str):
        text = str(value)
    else:
        raise ValueProblem("is a list or an object, which the column is not")
    if "\0" in text:
        raise ValueProblem("contains a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueProblem("contains half a character") from error
    if kind.scalar is Scalar.ENUM and text not in labels:
        raise ValueProblem(f"is none of {', '.join(labels)}")
    check = _CHECKS.get(kind.scalar)
    if check:
        check(text, kind)
    return text


def _array_text(value: Json, kind: Type, labels: tuple[str, ...]) -> str:
    if isinstance(value, str) and not isinstance(value, RawNumber):
        if not value.lstrip().startswith("{"):
            raise ValueProblem("is no list")
        return value  # as PostgreSQL writes it
    if not isinstance(value, list):
        raise ValueProblem("is no list")
    items = []
    for at, one in enumerate(value, 1):
        try:
            text = None if one is None else _scalar_text(one, kind, labels)
        except ValueProblem as error:
            raise ValueProblem(f"element {at} {error}") from error
        escaped = (text or "").replace("\\", "\\\\").replace('"', '\\"')
        items.append("NULL" if text is None else f'"{escaped}"')
    return "{" + ",".join(items) + "}"


# ---- columns ----


@dataclass(frozen=True, slots=True)
class TransferColumn:
    """A column, and its type as SQL casts to it: without a length, so that nothing is cut."""

    column: Column
    labels: tuple[str, ...]
    cast: str

    @property
    def name(self) -> str:
        return self.column.name

    def text(self, value: Json) -> str | None:
        """What the server reads, None for NULL. Raises ValueProblem."""
        if value is None:
            if not self.column.nullable:
                raise ValueProblem("is NULL, which the column cannot be")
            return None
        kind = self.column.type
        return (_array_text if kind.array else _scalar_text)(value, kind, self.labels)

    def as_json(self) -> str:
        """The column in a row that becomes JSON: nothing that a reader of JSON could lose."""
        kind = self.column.type
        name = sql_ident(self.name)
        if kind.scalar is Scalar.JSONB and not kind.array:
            whole = f"jsonb_typeof(t.{name}) IN ('object', 'array')"
            return f"CASE WHEN {whole} THEN t.{name} ELSE to_jsonb(t.{name}::text) END AS {name}"
        if kind.scalar in _AS_THEY_ARE:
            return f"t.{name}"
        return f"t.{name}::text{'[]' if kind.array else ''} AS {name}"


_AS_THEY_ARE: Final = {
    Scalar.BOOL,
    Scalar.INT2,
    Scalar.INT4,
    Scalar.INT8,
    Scalar.FLOAT4,
    Scalar.FLOAT8,
    Scalar.TEXT,
    Scalar.VARCHAR,
}


def transfer_column(
    column: Column, schema: Schema, qualify: Callable[[str], str]
) -> TransferColumn:
    kind = column.type
    brackets = "[]" if kind.array else ""
    labels: tuple[str, ...] = ()
    if kind.scalar is Scalar.ENUM:
        enum = _enum(schema, kind)
        labels = enum.labels
        cast = qualify(enum.name)
    elif kind.scalar is Scalar.OPAQUE:
        cast = kind.name
    elif kind.scalar in (Scalar.VARCHAR, Scalar.CHAR, Scalar.TEXT):
        cast = "text"
    elif kind.scalar is Scalar.NUMERIC:
        cast = "numeric"
    else:
        cast = kind.scalar.value
    return TransferColumn(column, labels, cast + brackets)


def _enum(schema: Schema, kind: Type) -> EnumType:
    module = next(one for one in schema.modules if one.name == kind.enum_module)
    return next(one for one in module.enums if one.name == kind.name)
