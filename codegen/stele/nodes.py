"""A schema file as read: text with places, before it means anything.

Every scalar is a string. `Broken` stands where a problem was reported already; readers take it
without a word, so that one mistake is one message.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from stele.model import Span


class Style(Enum):
    """How a scalar stood in the file."""

    PLAIN = "plain"
    DOUBLE = "double-quoted"
    SINGLE = "single-quoted"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Scalar:
    span: Span
    text: str
    style: Style
    commented: bool = False  # a '#' follows on the same line: YAML ended the value there


@dataclass(frozen=True, slots=True)
class Sequence:
    span: Span
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    key: Scalar
    value: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    span: Span
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    span: Span


Node = Scalar | Sequence | Mapping | Broken
