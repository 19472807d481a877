"""Reads nodes as what they should be, and reports what they are not."""

from __future__ import annotations

import re
from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import Final

from stele import names
from stele.diag import Diagnostics
from stele.grammar import FLAGS, KEYS, OBJECTS
from stele.model import Predicate, Span
from stele.nodes import Broken, Entry, Mapping, Node, Scalar, Sequence, Style
from stele.sqltext import SqlProblem, has_top_level_comma, has_top_level_or, tokens, uses_word
from stele.suggest import remedy

_PLAIN_SQL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_NOT_DELETED: Final = re.compile(
    r"not_deleted(?:\s+and\s+(?P<rest>.+))?", re.IGNORECASE | re.DOTALL
)

# What other tools let a column say.
_NULLS: Final = 'a column is NOT NULL unless its type ends in "?"'
_HABITS: Final = {
    **dict.fromkeys(("null", "nullable", "not_null", "required"), _NULLS),
    **{key: f"'{key}:' stands in the table, with the columns" for key in ("unique", "primary_key")},
}

_KIND: Final = {Scalar: "text", Sequence: "a list", Mapping: "a mapping"}


@dataclass(frozen=True, slots=True)
class Word:
    """A name and where it stands."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Reader:
    """Reports into `diags`; every method answers None for a node that it had to refuse."""

    diags: Diagnostics

    def wrong(self, node: Node, wanted: str, hint: str) -> None:
        if isinstance(node, Broken):
            return
        found = _KIND[type(node)]
        if isinstance(node, Scalar) and not node.text and node.style is Style.PLAIN:
            found = "nothing"
        elif isinstance(node, Scalar):
            found = f'"{_short(node.text)}"'
        self.diags.error(node.span, "S018", f"{wanted} is wanted here, not {found}", hint)

    def entries(self, node: Node, what: str, example: str) -> tuple[Entry, ...]:
        """Entries of a mapping whose keys are the author's names."""
        if not isinstance(node, Mapping):
            self.wrong(node, f"a mapping of {what}", f"write '{example}'")
            return ()
        return tuple(entry for entry in node.entries if self.identifier(entry.key))

    def fields(self, node: Node, kind: str, what: str) -> dict[str, Node] | None:
        """The keys of an object of the language; unknown ones are reported and left out."""
        if not isinstance(node, Mapping):
            keys = ", ".join(KEYS[kind])
            self.wrong(node, f"a mapping for {what}", f"its keys are: {keys}")
            return None
        found: dict[str, Node] = {}
        for entry in node.entries:
            key = entry.key.text
            if key in KEYS[kind]:
                found[key] = entry.value
            else:
                unknown = remedy(key, KEYS[kind], "key")
                self.diags.error(
                    entry.key.span,
                    "S016",
                    f'unknown key "{_short(key)}" in {what}',
                    _HABITS.get(key, unknown) if kind == "column" else unknown,
                )
        for known in OBJECTS[kind]:
            if known.required and known.name not in found:
                self.diags.error(
                    node.span,
                    "S019",
                    f'{what} lacks the key "{known.name}"',
                    f"add '{known.name}:'",
                )
        return found

    def identifier(self, node: Node) -> Word | None:
        if not isinstance(node, Scalar):
            self.wrong(node, "a name", "write one name")
            return None
        if not names.is_identifier(node.text):
            self.diags.error(
                node.span,
                "S021",
                f'"{_short(node.text)}" cannot be a name',
                "use letters of ASCII, digits and underscores, not a digit first",
            )
            return None
        return Word(node.text, node.span)

    def identifiers(self, node: Node, what: str) -> tuple[Word, ...] | None:
        """A list of names, none twice."""
        if not isinstance(node, Sequence):
            self.wrong(node, f"a list of {what}", "write [first, second]")
            return None
        if not node.items:
            self.diags.error(
                node.span,
                "S024",
                f"an empty list of {what}",
                "name at least one, or remove the key",
            )
            return None
        words = [self.identifier(item) for item in node.items]
        return self.distinct([word for word in words if word is not None])

    def distinct(self, words: Items[Word]) -> tuple[Word, ...]:
        seen: dict[str, Word] = {}
        for word in words:
            if word.text in seen:
                self.diags.error(
                    word.span, "S025", f'"{word.text}" stands in this list twice', "remove one"
                )
            else:
                seen[word.text] = word
        return tuple(seen.values())

    def text(self, node: Node) -> str | None:
        if not isinstance(node, Scalar):
            self.wrong(node, "text", "write it on the line, or as a block")
            return None
        return node.text.strip()

    def choice(self, node: Node, words: Items[str], what: str) -> str | None:
        if not isinstance(node, Scalar):
            self.wrong(node, f"one word for {what}", f"use one of: {', '.join(words)}")
            return None
        if node.text not in words:
            hint = remedy(node.text, words, "choice")
            self.diags.error(
                node.span, "S020", f'"{_short(node.text)}" is no choice for {what}', hint
            )
            return None
        return node.text

    def flag(self, node: Node, what: str) -> bool:
        return self.choice(node, FLAGS, what) == "true"

    def number(self, node: Node, what: str, most: int) -> int | None:
        if (
            not isinstance(node, Scalar)
            or not re.fullmatch("[0-9]{1,9}", node.text)
            or int(node.text) > most
        ):
            self.wrong(
                node, f"a whole number from 0 to {most} for {what}", "write the number of bytes"
            )
            return None
        return int(node.text)

    def expression(self, node: Node) -> str | None:
        """SQL that is one expression."""
        sql = self.sql(node)
        if sql and has_top_level_comma(sql):
            message = "broken SQL: a comma, where one expression is wanted"
            self.diags.error(node.span, "S015", message, "correct the SQL")
            return None
        return sql

    def sql(self, node: Node, statements: bool = False) -> str | None:
        """SQL, or whole statements."""
        if not isinstance(node, Scalar):
            self.wrong(node, "SQL", "put the SQL in double quotes or in a block ('|')")
            return None
        if not self.quoted_as_sql(node):
            return None
        sql = node.text.strip()
        if not sql:
            self.diags.error(
                node.span,
                "S015",
                "the SQL is empty",
                "write an expression, '' for the empty string, or remove the key",
            )
            return None
        try:
            tokens(sql, statements)
        except SqlProblem as problem:
            self.diags.error(node.span, "S015", f"broken SQL: {problem}", "correct the SQL")
            return None
        return sql

    def quoted_as_sql(self, node: Scalar) -> bool:
        if node.style is Style.PLAIN and node.commented:
            self.diags.error(
                node.span,
                "S013",
                f'YAML takes the rest of the line after "{_short(node.text)}" for a comment',
                "put the SQL in double quotes, and a comment on its own line",
            )
            return False
        plain = _PLAIN_SQL.fullmatch(node.text)
        if node.style is Style.SINGLE or (node.style is Style.PLAIN and node.text and not plain):
            message = "SQL of more than a word stands in double quotes"
            self.diags.error(node.span, "S014", message, _quoting_hint(node))
            return False
        return True

    def predicate(self, node: Node) -> Predicate | None:
        """A condition that may begin with the policy's `not_deleted`."""
        sql = self.expression(node)
        if sql is None:
            return None
        policy = _NOT_DELETED.fullmatch(sql)
        rest = (policy["rest"] or "").strip() if policy else sql
        if rest and uses_word(rest, "not_deleted"):
            self.diags.error(
                node.span,
                "S036",
                "not_deleted must come first, once",
                'write "not_deleted AND <condition>"',
            )
            return None
        if policy and rest and has_top_level_or(rest):
            self.diags.error(
                node.span,
                "S036",
                "OR beside not_deleted would show deleted rows",
                'write "not_deleted AND (<a> OR <b>)"',
            )
            return None
        return Predicate(policy is not None, rest)


def _quoting_hint(node: Scalar) -> str:
    quoted = node.text.replace("\\", "\\\\").replace('"', '\\"')
    if len(quoted) > 60 or "\n" in quoted:
        return "put it there, or in a block ('|')"
    if node.style is Style.SINGLE and (not quoted or _PLAIN_SQL.fullmatch(node.text)):
        return f"write \"'{quoted}'\" for a string"
    return f'write "{quoted}"'


def _short(text: str) -> str:
    line = text.splitlines()[0] if text else ""
    return line if len(line) <= 60 else line[:57] + "..."
