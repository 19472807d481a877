"""`value:` literals: checked against their type and written as SQL."""

from __future__ import annotations

import ipaddress
import json
import math
import re
import struct
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Final

from stele.model import Scalar, Type
from stele.names import quote_literal
from stele.types import text_of

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")
_FLOAT: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME: Final = re.compile(r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?")
_STAMP: Final = re.compile(
    _DATE.pattern + r"(?:[T ]" + _TIME.pattern + r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_BYTES: Final = re.compile(r"\\x(?:[0-9a-fA-F]{2})*")
_UNITS: Final = "(?:microsecond|millisecond|second|sec|minute|min|hour|day|week|month|mon|year)s?"
_INTERVAL: Final = re.compile(
    rf"(?=\S)(?:[+-]?[0-9]{{1,9}}(?:\.[0-9]{{1,6}})? {_UNITS} ?)*(?:[+-]?{_TIME.pattern})?(?<! )"
    r"|P(?=.)(?:[0-9]{1,9}[YMWD])*(?:T(?:[0-9]{1,9}(?:\.[0-9]{1,6})?[HMS])+)?"
)
_BITS: Final = {Scalar.INT2: 16, Scalar.INT4: 32, Scalar.INT8: 64}

_TIMES: Final = (Scalar.DATE, Scalar.TIME, Scalar.TIMESTAMP, Scalar.TIMESTAMPTZ)

_EXAMPLES: Final = {
    Scalar.BOOL: "true or false",
    Scalar.NUMERIC: "1.5",
    Scalar.FLOAT4: "1.5",
    Scalar.FLOAT8: "1.5",
    Scalar.UUID: "00000000-0000-0000-0000-000000000000",
    Scalar.DATE: "2000-01-31",
    Scalar.TIME: "08:00",
    Scalar.TIMESTAMP: "2000-01-31 08:00:00",
    Scalar.TIMESTAMPTZ: "2000-01-31 08:00:00Z",
    Scalar.INTERVAL: "1 day 02:00",
    Scalar.INET: "192.168.0.1/24",
    Scalar.BYTEA: '"\\\\x00ff"',
    Scalar.JSON: '"{}"',
    Scalar.JSONB: '"{}"',
}


class LiteralProblem(Exception):
    """A value that its column cannot hold; `hint` says what it can."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def to_sql(text: str, type_: Type, labels: tuple[str, ...]) -> str:
    """A value as an SQL literal of a type; `labels` are those of an enum."""
    scalar = type_.scalar
    if not _fits(text, type_, labels):
        raise LiteralProblem(f'"{text}" is no value of {text_of(type_)}', _hint(type_, labels))
    if scalar is Scalar.BOOL:
        return text
    if scalar in _BITS or (
        scalar in (Scalar.NUMERIC, Scalar.FLOAT4, Scalar.FLOAT8) and _FLOAT.fullmatch(text)
    ):
        return text.removeprefix("+")
    return quote_literal(text)


def array_to_sql(items: Sequence[str], type_: Type, labels: tuple[str, ...]) -> str:
    """Values as an SQL array literal."""
    element = Type(
        type_.scalar,
        False,
        type_.length,
        type_.precision,
        type_.scale,
        type_.name,
        type_.enum_module,
    )
    parts = []
    for item in items:
        to_sql(item, element, labels)
        parts.append('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"')
    return quote_literal("{" + ",".join(parts) + "}")


def _hint(type_: Type, labels: tuple[str, ...]) -> str:
    if type_.scalar is Scalar.ENUM:
        return f"use one of its labels: {', '.join(labels)}"
    if type_.scalar in _BITS:
        return f"use a whole number of {_BITS[type_.scalar]} bits, or 'default' for SQL"
    if type_.length is not None:
        return f"use at most {type_.length} characters"
    if type_.precision is not None:
        return f"use a number of {type_.precision} digits, {type_.scale or 0} behind the point"
    example = _EXAMPLES.get(type_.scalar)
    return (
        f"write it like {example}, or use 'default' for SQL" if example else "use 'default' for SQL"
    )


def _fits(text: str, type_: Type, labels: tuple[str, ...]) -> bool:
    scalar = type_.scalar
    if scalar in _BITS:
        limit = 1 << (_BITS[scalar] - 1)
        return _INTEGER.fullmatch(text) is not None and -limit <= int(text) < limit
    if scalar in (Scalar.FLOAT4, Scalar.FLOAT8):
        return text in ("NaN", "Infinity", "-Infinity") or _is_float(text, scalar)
    if scalar is Scalar.NUMERIC:
        return text == "NaN" or _is_numeric(text, type_)
    if scalar is Scalar.INET:
        return _is_inet(text)
    if scalar is Scalar.BOOL:
        return text in ("true", "false")
    if scalar is Scalar.ENUM:
        return text in labels or not labels  # labels that could not be read
    if scalar in (Scalar.JSON, Scalar.JSONB):
        return _is_json(text)
    if scalar in (Scalar.VARCHAR, Scalar.CHAR) and type_.length is not None:
        return len(text) <= type_.length
    pattern = {
        Scalar.UUID: _UUID,
        Scalar.DATE: _DATE,
        Scalar.TIME: _TIME,
        Scalar.TIMESTAMP: _STAMP,
        Scalar.TIMESTAMPTZ: _STAMP,
        Scalar.INTERVAL: _INTERVAL,
        Scalar.BYTEA: _BYTES,
    }.get(scalar)
    if pattern is None:
        return True
    return pattern.fullmatch(text) is not None and (
        scalar not in _TIMES or _is_time(text if scalar is Scalar.TIME else text[10:], text)
    )


def _is_time(time: str, text: str) -> bool:
    """Whether the numbers of a day (of `text`, if it begins with one) and a time are in range."""
    try:
        if _DATE.match(text):
            date.fromisoformat(text[:10])
    except ValueError:
        return False
    numbers = [int(number) for number in re.findall(r"(?<![.\d])[0-9]{2}", time)]
    hours, minutes, *rest = [*numbers, 0, 0]
    return hours < 24 and minutes < 60 and all(number < 60 for number in rest)


def _is_float(text: str, scalar: Scalar) -> bool:
    if not _FLOAT.fullmatch(text):
        return False
    value = float(text)
    if scalar is Scalar.FLOAT4 and math.isfinite(value):
        try:
            value = struct.unpack("f", struct.pack("f", value))[0]
        except OverflowError:
            return False
    return math.isfinite(value) and bool(value or not Decimal(text))


def _is_numeric(text: str, type_: Type) -> bool:
    if not _FLOAT.fullmatch(text):
        return False
    if type_.precision is None:
        return True
    scale = type_.scale or 0
    size: Decimal = abs(Decimal(text))
    return bool(size < 10 ** (type_.precision - scale) - Decimal(5).scaleb(-scale - 1))


def _is_inet(text: str) -> bool:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return "%" not in text and (":" in text or re.fullmatch(r"[0-9.]+(/[0-9]+)?", text) is not None)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return "\\u0000" not in text
