"""SQL as PostgreSQL's own scanner cuts it, with what query files add: :name, {…} and /*?…*/.

The texts of the tokens, put together, are the text that was scanned.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from stele.model import Span


class Kind(Enum):
    SPACE = "space"
    LINE_COMMENT = "line comment"
    COMMENT = "comment"
    DIRECTIVE = "directive"  # /*?…*/
    STRING = "string"
    QUOTED = "quoted name"
    WORD = "word"
    NUMBER = "number"
    PARAM = "parameter"  # :name
    POSITIONAL = "positional"  # $1
    BRACE = "brace"  # {…}
    MARK = "mark"


SILENT: Final = frozenset({Kind.SPACE, Kind.LINE_COMMENT, Kind.COMMENT})


@dataclass(frozen=True, slots=True)
class Token:
    """`at` counts characters from the start of the file."""

    kind: Kind
    text: str
    at: int


class ScanProblem(Exception):
    """What opens at `at` is never closed."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at
        self.message = message


@dataclass(frozen=True, slots=True)
class Source:
    """A file's text, and where its lines start."""

    path: str
    text: str
    starts: tuple[int, ...]

    @staticmethod
    def of(path: str, text: str) -> Source:
        starts = [0, *(match.end() for match in re.finditer(r"\r\n|[\r\n]", text))]
        return Source(path, text, tuple(starts))

    def span(self, at: int) -> Span:
        line = bisect_right(self.starts, at)
        return Span(self.path, line, at - self.starts[line - 1] + 1)


_LETTER: Final = r"A-Za-z_\x80-\U0010ffff"
_SPACE: Final = re.compile(r"[ \t\n\r\f\v]+")
_WORD: Final = re.compile(rf"[{_LETTER}][{_LETTER}0-9$]*")
_NUMBER: Final = re.compile(
    r"(?:[0-9]+(?:\.[0-9]+|\.(?![.A-Za-z_]))?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
)
_STRING: Final = re.compile(r"'(?:[^']|'')*'")
_ESCAPE_STRING: Final = re.compile(r"[eE]'(?:[^'\\]|''|\\.)*'", re.DOTALL)
_QUOTED: Final = re.compile(r'"(?:[^"]|"")*"')
_DOLLAR: Final = re.compile(rf"\$(?:[{_LETTER}][{_LETTER}0-9]*)?\$")
_POSITIONAL: Final = re.compile(r"\$[0-9]+")
_PARAM: Final = re.compile(rf":[{_LETTER}][{_LETTER}0-9]*")
_BRACE: Final = re.compile(r"\{[^{}'\"\n\r]*\}")
_WORD_CHARACTER: Final = re.compile(rf"[{_LETTER}0-9$]")
_LINE_END: Final = re.compile(r"[\r\n]")
_COMMENT_MARK: Final = re.compile(r"/\*|\*/")

# Behind these a colon stands between two operands, as in a[1:2]; no parameter can follow them.
_OPERANDS: Final = frozenset(
    {Kind.STRING, Kind.QUOTED, Kind.NUMBER, Kind.PARAM, Kind.POSITIONAL, Kind.BRACE}
)


def scan(text: str, at: int = 0, end: int | None = None) -> Iterator[Token]:
    """The tokens of text[at:end]; raises ScanProblem where one is never closed."""
    end = len(text) if end is None else end
    last: Token | None = None  # the last one that is not silent
    while at < end:
        kind, stop = _next(text, at, end, last)
        token = Token(kind, text[at:stop], at)
        yield token
        if kind not in SILENT:
            last = token
        at = stop


def _next(text: str, at: int, end: int, last: Token | None) -> tuple[Kind, int]:
    char = text[at]
    space = _SPACE.match(text, at, end)
    if space:
        return Kind.SPACE, space.end()
    if text.startswith("--", at, end):
        stop = _LINE_END.search(text, at, end)
        return Kind.LINE_COMMENT, stop.start() if stop else end
    if text.startswith("/*", at, end):
        return _comment(text, at, end)
    if char == "'" or (char in "eE" and text.startswith("'", at + 1, end)):
        pattern = _STRING if char == "'" else _ESCAPE_STRING
        return Kind.STRING, _closed(pattern, text, at, end, "a string is never closed")
    if char == '"':
        return Kind.QUOTED, _closed(_QUOTED, text, at, end, "a quoted name is never closed")
    if char == "$":
        return _dollar(text, at, end)
    if char == ":":
        return _colon(text, at, end, last)
    for kind, pattern in ((Kind.WORD, _WORD), (Kind.NUMBER, _NUMBER), (Kind.BRACE, _BRACE)):
        match = pattern.match(text, at, end)
        if match:
            return kind, match.end()
    return Kind.MARK, at + 1


def _closed(pattern: re.Pattern[str], text: str, at: int, end: int, message: str) -> int:
    match = pattern.match(text, at, end)
    if match is None:
        raise ScanProblem(at, message)
    return match.end()


def _comment(text: str, at: int, end: int) -> tuple[Kind, int]:
    if text.startswith("/*?", at, end):
        stop = text.find("*/", at + 3, end)
        if stop < 0:
            raise ScanProblem(at, "a clause comment is never closed")
        return Kind.DIRECTIVE, stop + 2
    depth = 0
    for mark in _COMMENT_MARK.finditer(text, at, end):
        depth += 1 if mark.group() == "/*" else -1
        if depth == 0:
            return Kind.COMMENT, mark.end()
    raise ScanProblem(at, "a comment is never closed")


def _dollar(text: str, at: int, end: int) -> tuple[Kind, int]:
    positional = _POSITIONAL.match(text, at, end)
    if positional:
        return Kind.POSITIONAL, positional.end()
    tag = _DOLLAR.match(text, at, end)
    if tag is None:
        return Kind.MARK, at + 1
    stop = text.find(tag.group(), tag.end(), end)
    if stop < 0:
        raise ScanProblem(at, f"{tag.group()} is never closed")
    return Kind.STRING, stop + len(tag.group())


def _colon(text: str, at: int, end: int, last: Token | None) -> tuple[Kind, int]:
    if text.startswith("::", at, end):
        return Kind.MARK, at + 2
    match = _PARAM.match(text, at, end)
    before = text[at - 1] if at else ""
    if match is None or before == ":" or _WORD_CHARACTER.match(before):
        return Kind.MARK, at + 1
    if last is not None and (last.kind in _OPERANDS or last.text in (")", "]")):
        return Kind.MARK, at + 1
    return Kind.PARAM, match.end()
