"""Splitting SQL text into statements."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""
    --[^\n]*                              # comment to the end of the line
    | /\*.*?\*/                           # block comment
    | [eE]'(?:[^'\\]|\\.|'')*'            # string with escapes
    | '(?:[^']|'')*'                      # string
    | "(?:[^"]|"")*"                      # quoted name
    | (?<![A-Za-z0-9_$])\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$   # dollar quotes
    | \bBEGIN\s+ATOMIC\b.*?\bEND\b(?=\s*(?:;|$))                       # a function's SQL body
    | ;
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


def split_statements(text: str) -> list[str]:
    """The statements of `text`, without their semicolons."""
    out = []
    start = 0
    for match in _TOKEN.finditer(text):
        if match.group() == ";":
            out.append(text[start : match.start()])
            start = match.end()
    out.append(text[start:])
    return [one.strip() for one in out if one.strip()]
