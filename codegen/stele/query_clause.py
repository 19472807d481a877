"""From the tokens of a statement to a tree: clauses and choices take in what they enclose."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from stele.diag import Diagnostics
from stele.query_scan import SILENT, Kind, ScanProblem, Source, Token, scan

_IF: Final = re.compile(r"\s*if\s+(?P<names>[^:]+?)\s*")
_BY: Final = re.compile(r"\s*by\s+(?P<name>\w+)\s+(?P<label>\w+)\s*", re.ASCII)
_OR: Final = re.compile(r"\s*or\s+(?P<label>\w+)\s*:(?P<body>.*)", re.ASCII | re.DOTALL)
_END: Final = re.compile(r"\s*end\s*")
_OPENS: Final = {")": "(", "]": "["}
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Name:
    text: str
    at: int


@dataclass(slots=True)
class IfClause:
    at: int
    names: list[Name]
    body: list[Tree] = field(default_factory=list)


@dataclass(slots=True)
class ByClause:
    at: int
    name: Name
    labels: list[Name]
    bodies: list[list[Tree]]


Tree = Token | IfClause | ByClause


@dataclass(slots=True)
class ClauseReader:
    """Builds the tree of one query; `broken` says that something was reported."""

    source: Source
    diags: Diagnostics
    top: list[Tree] = field(default_factory=list)
    open: IfClause | ByClause | None = None
    broken: bool = False

    def read(self, tokens: list[Token]) -> list[Tree]:
        for token in tokens:
            if token.kind is Kind.DIRECTIVE:
                self.directive(token)
            elif isinstance(self.open, IfClause):
                self.open.body.append(token)
            elif isinstance(self.open, ByClause):
                self.branch(self.open, token)
            else:
                self.top.append(token)
        if self.open is not None:
            self.error(self.open.at, "S080", "this clause has no end", "add /*?end*/")
        self.balance(self.top)
        for tree in self.top:
            if isinstance(tree, IfClause):
                self.balance(tree.body)
            elif isinstance(tree, ByClause):
                for body in tree.bodies:
                    self.balance(body)
        return self.top

    def error(self, at: int, code: str, message: str, hint: str) -> None:
        self.diags.error(self.source.span(at), code, message, hint)
        self.broken = True

    def branch(self, clause: ByClause, token: Token) -> None:
        """Text inside a choice: of its first branch, which the first `or` ends."""
        if len(clause.bodies) == 1:
            clause.bodies[0].append(token)
        elif token.kind not in SILENT and not self.broken:
            hint = "put it behind the colon of its /*?or label: …*/"
            self.error(token.at, "S081", "text behind the first branch of a choice", hint)

    def directive(self, token: Token) -> None:
        inner, base = token.text[3:-2], token.at + 3
        opens = self.opened(token, inner, base)
        if opens is not None:
            if self.open is not None:
                hint = "end the first one before: /*?end*/"
                self.error(token.at, "S080", "a clause inside a clause", hint)
                return
            self.open = opens
            self.top.append(opens)
        elif _END.fullmatch(inner):
            self.close(token)
        elif (match := _OR.fullmatch(inner)) is not None:
            self.alternative(token, match, base)
        elif not self.broken:
            hint = "clauses are /*?if a, b*/, /*?by sort newest*/, /*?or oldest: …*/ and /*?end*/"
            self.error(token.at, "S080", f'"{_short(token.text)}" is no clause', hint)

    def opened(self, token: Token, inner: str, base: int) -> IfClause | ByClause | None:
        match = _BY.fullmatch(inner)
        if match:
            name = Name(match["name"], base + match.start("name"))
            label = Name(match["label"], base + match.start("label"))
            return ByClause(token.at, name, [label], [[]])
        match = _IF.fullmatch(inner)
        if match is None:
            return None
        names: list[Name] = []
        at = base + match.start("names")
        for part in match["names"].split(","):
            lead = len(part) - len(part.lstrip())
            names.append(Name(part.strip(), at + lead))
            at += len(part) + 1
        for name in names:
            if not _NAME.fullmatch(name.text):
                hint = "write /*?if first, second*/"
                self.error(name.at, "S080", f'"{_short(name.text)}" cannot be a condition', hint)
        return IfClause(token.at, [name for name in names if _NAME.fullmatch(name.text)])

    def close(self, token: Token) -> None:
        clause = self.open
        self.open = None
        if clause is None and not self.broken:
            self.error(token.at, "S080", "this ends no clause", "remove it")
        elif isinstance(clause, ByClause):
            if len(clause.labels) == 1:
                hint = "add a second: /*?or oldest: …*/"
                self.error(clause.at, "S081", f'choice "{clause.name.text}" has one branch', hint)
        elif clause and not any(
            isinstance(tree, Token) and tree.kind not in SILENT for tree in clause.body
        ):
            self.error(clause.at, "S080", "an empty clause", "put SQL into it, or remove it")

    def alternative(self, token: Token, match: re.Match[str], base: int) -> None:
        if not isinstance(self.open, ByClause):
            hint = "a choice begins with /*?by sort newest*/"
            self.error(token.at, "S081", "an alternative outside a choice", hint)
            return
        label = Name(match["label"], base + match.start("label"))
        if any(known.text == label.text for known in self.open.labels):
            message = f'label "{label.text}" stands in choice "{self.open.name.text}" twice'
            self.error(label.at, "S081", message, "rename one")
        start = base + match.start("body")
        body: list[Tree] = []
        try:
            body.extend(scan(self.source.text, start, start + len(match["body"])))
        except ScanProblem as problem:
            self.error(problem.at, "S072", problem.message, "close it inside the branch")
        self.open.labels.append(label)
        self.open.bodies.append(body)

    def balance(self, body: list[Tree]) -> None:
        """Parentheses must match within a body: it may be there or not."""
        opened: list[Token] = []
        for token in body:
            if not isinstance(token, Token) or token.kind is not Kind.MARK:
                continue
            if token.text in "([":
                opened.append(token)
            elif token.text in ")]" and (opened.pop().text if opened else "") != _OPENS[token.text]:
                message = f"'{token.text}' closes nothing here"
                self.error(token.at, "S072", message, "open and close it in the same clause")
                return
        if opened:
            message = f"'{opened[-1].text}' is never closed here"
            self.error(opened[-1].at, "S072", message, "open and close it in the same clause")


def _short(text: str) -> str:
    line = text.splitlines()[0] if text else ""
    return line if len(line) <= 60 else line[:57] + "..."
