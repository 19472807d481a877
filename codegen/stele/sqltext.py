"""Just enough of SQL's lexical rules to tell a whole expression from a broken one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_SKIP: Final = re.compile(r"\s+")
_STRING: Final = re.compile(r"'(?:[^']|'')*'")
_ESCAPE_STRING: Final = re.compile(r"[eE]'(?:[^'\\]|''|\\.)*'", re.DOTALL)
_QUOTED: Final = re.compile(r'"(?:[^"]|"")*"')
_DOLLAR: Final = re.compile(r"\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$")
_WORD: Final = re.compile(r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*")
_NUMBER: Final = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Token:
    """`kind`: word, quoted, string, number, mark; `depth` counts the parentheses around it."""

    kind: str
    text: str
    depth: int
    at: int


class SqlProblem(Exception):
    """The text cannot be SQL; the message says why."""


def tokens(sql: str, statements: bool = False) -> list[Token]:
    """The tokens of an expression, or with `statements` of whole statements."""
    found: list[Token] = []
    open_marks: list[str] = []
    at = 0
    while at < len(sql):
        space = _SKIP.match(sql, at)
        if space:
            at = space.end()
        elif sql.startswith(("--", "/*"), at):
            at = _comment_end(sql, at, statements)
        else:
            kind, end = _token(sql, at)
            text = sql[at:end]
            if kind == "mark":
                _count(text, open_marks, statements)
            depth = len(open_marks) - (1 if text in ("(", "[") and kind == "mark" else 0)
            found.append(Token(kind, text, depth, at))
            at = end
    if open_marks:
        raise SqlProblem(f"'{open_marks[-1]}' is never closed")
    return found


def _comment_end(sql: str, at: int, statements: bool) -> int:
    if not statements:
        raise SqlProblem("a comment would swallow what follows")
    if sql.startswith("--", at):
        end = sql.find("\n", at)
        return len(sql) if end < 0 else end
    depth = 0
    while at < len(sql):
        if sql.startswith("/*", at):
            depth += 1
            at += 2
        elif sql.startswith("*/", at):
            depth -= 1
            at += 2
            if depth == 0:
                return at
        else:
            at += 1
    raise SqlProblem("a comment is never closed")


def _token(sql: str, at: int) -> tuple[str, int]:
    for kind, pattern in (("string", _ESCAPE_STRING), ("string", _STRING), ("quoted", _QUOTED)):
        match = pattern.match(sql, at)
        if match:
            return kind, match.end()
    if sql[at] == "'":
        raise SqlProblem("a string is never closed")
    if sql[at] == '"':
        raise SqlProblem("a quoted name is never closed")
    tag = _DOLLAR.match(sql, at)
    if tag:
        end = sql.find(tag.group(), tag.end())
        if end < 0:
            raise SqlProblem(f"{tag.group()} is never closed")
        return "string", end + len(tag.group())
    for kind, pattern in (("word", _WORD), ("number", _NUMBER)):
        match = pattern.match(sql, at)
        if match:
            return kind, match.end()
    return "mark", at + 1


def _count(mark: str, open_marks: list[str], statements: bool) -> None:
    if mark in "([":
        open_marks.append(mark)
    elif mark in ")]":
        wanted = "(" if mark == ")" else "["
        if not open_marks or open_marks.pop() != wanted:
            raise SqlProblem(f"'{mark}' closes nothing")
    elif mark == ";" and not statements:
        raise SqlProblem("';' ends a statement, but this is an expression")


# What would end, begin or change the transaction that a statement is part of.
TRANSACTION_WORDS: Final = frozenset(
    "ABORT BEGIN COMMIT END RELEASE ROLLBACK SAVEPOINT START".split()
)


def transaction_word(sql: str) -> str:
    """The first word by which one of the statements controls the transaction."""
    first = True
    found = tokens(sql, statements=True)
    body = any(token.text.upper() == "ATOMIC" for token in found)  # BEGIN ATOMIC …; END
    for token in found:
        word = token.text.upper() if token.kind == "word" else ""
        if first and word in TRANSACTION_WORDS and not (body and word == "END"):
            return word
        first = token.text == ";" and token.depth == 0
    return ""


def has_top_level_comma(sql: str) -> bool:
    return any(token.text == "," and token.depth == 0 for token in tokens(sql))


def conjuncts(sql: str) -> list[list[Token]]:
    """The parts of a condition that AND joins at its top; one part when there is an OR."""
    parts: list[list[Token]] = [[]]
    between = False
    for token in tokens(sql):
        word = token.text.upper() if token.kind == "word" and token.depth == 0 else ""
        if word == "OR":
            return [tokens(sql)]
        if word == "AND" and not between:
            parts.append([])
            continue
        between = word == "BETWEEN" or (between and word != "AND")
        parts[-1].append(token)
    return parts


def not_null_columns(sql: str) -> set[str]:
    """Columns that a condition says are not NULL, as `column IS NOT NULL` joined by AND."""
    columns = set()
    for part in conjuncts(sql):
        while len(part) > 2 and part[0].text == "(" and part[-1].text == ")":
            part = part[1:-1]
        if [token.text.upper() for token in part[1:]] == ["IS", "NOT", "NULL"]:
            name = part[0]
            if name.kind == "word":
                columns.add(name.text.lower())
            elif name.kind == "quoted":
                columns.add(name.text[1:-1].replace('""', '"'))
    return columns


def uses_word(sql: str, word: str) -> bool:
    """Whether a bare name stands in the expression, not as part of `a.name` or a call."""
    found = tokens(sql)
    for at, token in enumerate(found):
        if token.kind == "word" and token.text.lower() == word:
            before = found[at - 1].text if at else ""
            after = found[at + 1].text if at + 1 < len(found) else ""
            if before != "." and after not in (".", "("):
                return True
    return False


def has_top_level_or(sql: str) -> bool:
    return any(t.kind == "word" and t.depth == 0 and t.text.upper() == "OR" for t in tokens(sql))
