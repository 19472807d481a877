"""Just enough of C to check how it is written: comments, strings, includes, functions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<comment>/\*.*?\*/|//[^\n]*)
      | (?P<string>"(?:\\.|[^"\\\n])*")
      | (?P<character>'(?:\\.|[^'\\\n])*')
    """,
    re.DOTALL | re.VERBOSE,
)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"\n]+)[>"]', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Include:
    name: str
    system: bool  # written in angle brackets
    line: int


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    line: int
    lines: int  # from the opening brace to the closing one


def without_comments(text: str) -> str:
    """The text with comments blanked; every line keeps its number."""
    return _TOKEN.sub(lambda m: _blank(m[0]) if m["comment"] else m[0], text)


def code_only(text: str) -> str:
    """The text with comments blanked and the contents of strings and characters removed."""

    def replace(match: re.Match[str]) -> str:
        return _blank(match[0]) if match["comment"] else '""' if match["string"] else "''"

    return _TOKEN.sub(replace, text)


def strings(text: str) -> Iterator[tuple[int, str]]:
    """Line and content of every string literal; adjacent literals are joined, as C does."""
    line, joined, end = 0, "", -1
    for match in _TOKEN.finditer(text):
        if not match["string"]:
            continue
        between = without_comments(text[end : match.start()]) if end >= 0 else "x"
        if between.strip():
            if end >= 0:
                yield line, joined
            line, joined = text.count("\n", 0, match.start()) + 1, ""
        joined += match[0][1:-1]
        end = match.end()
    if end >= 0:
        yield line, joined


def includes(text: str) -> list[Include]:
    bare = without_comments(text)
    return [
        Include(m[2], m[1] == "<", bare.count("\n", 0, m.start()) + 1)
        for m in _INCLUDE.finditer(bare)
    ]


def functions(text: str) -> Iterator[Function]:
    """Function definitions; relies on the house style, with a function's braces in column one."""
    lines = code_only(text).split("\n")
    start = 0
    for number, line in enumerate(lines):
        if line == "{":
            start = number
        elif line == "}" and start:
            yield Function(_name_above(lines, start), start + 1, number - start + 1)
            start = 0


def _name_above(lines: list[str], brace: int) -> str:
    """The name of the function whose body opens at this line."""
    first = brace - 1
    while first > 0 and not re.match(r"[A-Za-z_#]", lines[first]):
        first -= 1
    match = re.search(r"(\w+)\s*\(", " ".join(lines[first:brace]))
    return match[1] if match else "?"


def _blank(text: str) -> str:
    return "\n" * text.count("\n") or " "
