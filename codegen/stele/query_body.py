"""From the tree of a statement to the nodes of the model: names found, parameters counted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from stele.model import (
    Choice,
    Condition,
    Now,
    ParamRef,
    PolicyKind,
    PolicyRef,
    QueryChoice,
    QueryNode,
    QueryReturn,
    RowRef,
    Scalar,
    SqlText,
    TableRef,
)
from stele.names import SQL_RESERVED, sql_ident
from stele.query_clause import ByClause, IfClause, Name, Tree
from stele.query_load import Declared, RawQuery
from stele.query_scan import Kind, Token
from stele.query_types import Scope
from stele.suggest import remedy
from stele.types import TIMESTAMPS
from stele.view import View

_WORD: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_BARE: Final = re.compile(rf"=\s*(?:(?P<module>{_WORD})\.)?(?P<name>{_WORD})")
_NOW: Final = re.compile(rf"now(?:\s+(?P<alias>{_WORD})\.(?P<column>{_WORD}))?")
_POLICY: Final = re.compile(rf"(?P<kind>live|not_deleted)\s+(?P<alias>{_WORD})")
_ROW: Final = re.compile(rf"(?P<alias>{_WORD})\.\*")
_TABLE: Final = re.compile(
    rf"(?:(?P<module>{_WORD})\.)?(?P<name>{_WORD})(?:\s+(?P<alias>{_WORD}))?"
)
_FORMS: Final = "write {table}, {table alias}, {=table}, {alias.*}, {live alias} or {now}"


@dataclass(frozen=True, slots=True)
class Use:
    """A parameter used in a body: at the top (clause None), or in a clause."""

    name: str
    at: int
    clause: IfClause | ByClause | None


@dataclass(frozen=True, slots=True)
class _Alias:
    """What stands for a table in SQL."""

    text: str
    view: View


@dataclass(slots=True)
class Body:
    """The result of reading a body."""

    nodes: tuple[QueryNode, ...] = ()
    uses: list[Use] = field(default_factory=list)
    flags: list[Name] = field(default_factory=list)
    choices: list[QueryChoice] = field(default_factory=list)
    conditions: list[tuple[Name, IfClause]] = field(default_factory=list)  # on parameters


@dataclass(slots=True)
class BodyReader:
    """Reads one query; `broken` says that something was reported, or cannot be known."""

    scope: Scope
    raw: RawQuery
    returns: Sequence[QueryReturn]
    body: Body = field(default_factory=Body)
    aliases: dict[str, list[_Alias]] = field(default_factory=dict)
    params: dict[str, int] = field(default_factory=dict)
    broken: bool = False

    def read(self, trees: list[Tree]) -> Body:
        self.params = {param.name: i for i, param in enumerate(self.raw.params)}
        for token in walk(trees):
            if token.kind is Kind.BRACE:
                self.note_alias(token)
        for one in self.returns:
            if one.table and one.name.lower() not in self.aliases:
                self.add_alias(one.name, one.name, self.scope.tables.by_name[one.table])
        self.body.nodes = self.nodes(trees, None)
        return self.body

    def error(self, at: int, code: str, message: str, hint: str) -> None:
        self.scope.diags.error(self.raw.source.span(at), code, message, hint)
        self.broken = True

    # ---- names ----

    def note_alias(self, token: Token) -> None:
        match = self.table_form(token)
        if match is None:
            return
        module = match["module"] or ""
        close = remedy(match["name"], ("live", "not_deleted", "now"), "word")
        known = (module or self.scope.module.name, match["name"]) in self.scope.tables.by_name
        if not known and not module and close.startswith("did you mean"):
            self.error(token.at, "S078", f'"{token.text}" stands for nothing', close)
            return
        view = self.scope.table(module, match["name"], self.raw.source.span(token.at))
        if view is None:
            self.broken = True
            return
        alias = match["alias"]
        if alias and alias.lower() in SQL_RESERVED:
            at = token.at + 1 + match.start("alias")
            self.error(at, "S079", f'"{alias}" is a reserved word of SQL', "choose another alias")
        key = (alias or match["name"]).lower()
        self.add_alias(key, alias or sql_ident(match["name"]), view)

    def add_alias(self, key: str, text: str, view: View) -> None:
        known = self.aliases.setdefault(key.lower(), [])
        if all(one.view is not view for one in known):
            known.append(_Alias(text, view))

    def table_form(self, token: Token) -> re.Match[str] | None:
        """The parts of {table} and {table alias}; None for the other forms."""
        inner = token.text[1:-1].strip()
        for form in (_NOW, _POLICY, _ROW, _BARE):
            if form.fullmatch(inner):
                return None
        return _TABLE.fullmatch(inner)

    def alias(self, name: str, at: int) -> _Alias | None:
        found = self.aliases.get(name.lower(), [])
        if len(found) == 1:
            return found[0]
        if found:
            tables = " and ".join(one.view.table.name for one in found)
            hint = "give each of them an alias of its own"
            self.error(at, "S079", f'"{name}" stands for {tables} in this query', hint)
        elif not self.broken:
            known = [one.text for several in self.aliases.values() for one in several]
            hint = remedy(name, known, "alias") if known else f"write {{table {name}}} after FROM"
            self.error(at, "S079", f'no table of this query is called "{name}"', hint)
        return None

    # ---- nodes ----

    def nodes(
        self, trees: Sequence[Tree], clause: IfClause | ByClause | None
    ) -> tuple[QueryNode, ...]:
        out: list[QueryNode] = []
        for i, tree in enumerate(trees):
            after = trees[i + 1] if i + 1 < len(trees) else None
            if isinstance(tree, Token):
                moved = tree.kind is Kind.SPACE and isinstance(after, IfClause)
                before = trees[i - 1] if i else None
                if not (moved and not _is_line_comment(before)):
                    out.extend(self.token(tree, clause))
            elif isinstance(tree, IfClause):
                out.append(self.condition(tree, _lead(trees, i)))
                out.extend(_gap(after))
            else:
                out.append(self.choice(tree, bool(_lead(trees, i)) or i == 0))
                out.extend(_gap(after))
        return join(out)

    def condition(self, tree: IfClause, lead: str | None) -> Condition:
        """`lead` is the space before the clause, which goes with it; None if it stays."""
        names = [name for name in tree.names if name.text in self.params]
        flags = [name for name in tree.names if name.text not in self.params]
        text = [] if lead is None else [SqlText(lead or " ")]
        body = join([*text, *self.clause_body(tree.body, tree)])
        if flags and (names or len(flags) > 1):
            declared = [param.name for param in self.raw.params]
            hint = remedy(flags[0].text, declared, "parameter")
            if not hint.startswith("did you mean"):
                hint = "a clause depends on parameters, or on one flag"
            message = f'"{flags[0].text}" is no parameter, but stands with others'
            self.error(flags[0].at, "S080", message, hint)
        if flags and not names:
            if all(known.text != flags[0].text for known in self.body.flags):
                self.body.flags.append(flags[0])
            return Condition((), flags[0].text, body)
        self.body.conditions += [(name, tree) for name in names]
        return Condition(tuple(sorted({self.params[name.text] for name in names})), "", body)

    def choice(self, tree: ByClause, spaced: bool) -> Choice:
        labels = tuple(label.text for label in tree.labels)
        known = next((one for one in self.body.choices if one.name == tree.name.text), None)
        if known is None:
            span = self.raw.source.span(tree.name.at)
            self.body.choices.append(QueryChoice(span, tree.name.text, labels))
        elif known.labels != labels:
            hint = f"repeat {', '.join(known.labels)} in this order, or choose another name"
            message = f'choice "{tree.name.text}" has other labels than before'
            self.error(tree.name.at, "S081", message, hint)
        lead = [] if spaced else [SqlText(" ")]
        bodies = [self.clause_body(body, tree) for body in tree.bodies]
        return Choice(
            tree.name.text, tuple(join([*lead, *body]) if body else () for body in bodies)
        )

    def clause_body(
        self, trees: Sequence[Tree], clause: IfClause | ByClause
    ) -> tuple[QueryNode, ...]:
        """A body without the space around it."""
        start, end = 0, len(trees)
        while start < end and _is_space(trees[start]):
            start += 1
        while start < end and _is_space(trees[end - 1]):
            end -= 1
        nodes = self.nodes(trees[start:end], clause)
        tail = [SqlText("\n")] if end and _is_line_comment(trees[end - 1]) else []
        return join([*nodes, *tail])

    def token(self, token: Token, clause: IfClause | ByClause | None) -> list[QueryNode]:
        if token.kind is Kind.PARAM:
            return self.param(token, clause)
        if token.kind is Kind.BRACE:
            return self.brace(token)
        if token.kind is Kind.POSITIONAL:
            hint = "declare a parameter, and write :name"
            self.error(token.at, "S088", f"{token.text} has no name", hint)
        elif token.kind is Kind.MARK and token.text in "{}":
            self.error(token.at, "S078", f'a lone "{token.text}"', _FORMS)
        elif token.kind is Kind.MARK and token.text == ";":
            hint = "begin the next one with -- name:, or remove the semicolon"
            self.error(token.at, "S087", "a second statement follows", hint)
        return [SqlText(token.text)]

    def param(self, token: Token, clause: IfClause | ByClause | None) -> list[QueryNode]:
        name = token.text[1:]
        index = self.params.get(name)
        if index is None:
            known: list[Declared] = self.raw.params
            hint = remedy(name, [one.name for one in known], "parameter")
            if hint.startswith("there is no"):
                hint = f"declare it: -- param {name}: int8"
            self.error(token.at, "S075", f'unknown parameter "{name}"', hint)
            return []
        self.body.uses.append(Use(name, token.at, clause))
        return [ParamRef(index)]

    def brace(self, token: Token) -> list[QueryNode]:
        inner = token.text[1:-1].strip()
        if (match := _NOW.fullmatch(inner)) is not None:
            return self.now(token, match)
        if (match := _POLICY.fullmatch(inner)) is not None:
            alias = self.alias(match["alias"], token.at)
            if alias is None:
                return []
            kind = PolicyKind(match["kind"])
            view = alias.view
            return [PolicyRef(kind, view.module.name, view.table.name, alias.text)]
        if (match := _ROW.fullmatch(inner)) is not None:
            alias = self.alias(match["alias"], token.at)
            if alias is None:
                return []
            return [RowRef(alias.view.module.name, alias.view.table.name, alias.text)]
        if (match := _BARE.fullmatch(inner)) is not None:
            return self.bare(token, match)
        match = _TABLE.fullmatch(inner)
        if match is None:
            self.error(token.at, "S078", f'"{token.text}" stands for nothing', _FORMS)
            return []
        module, name = match["module"] or self.scope.module.name, match["name"]
        return [TableRef(module, name), SqlText(f" AS {match['alias'] or sql_ident(name)}")]

    def bare(self, token: Token, match: re.Match[str]) -> list[QueryNode]:
        module = match["module"] or ""
        if not self.scope.enum(module, match["name"]):
            span = self.raw.source.span(token.at)
            if self.scope.table(module, match["name"], span) is None:
                self.broken = True
        return [TableRef(module or self.scope.module.name, match["name"])]

    def now(self, token: Token, match: re.Match[str]) -> list[QueryNode]:
        if match["alias"] is None:
            return [Now(Scalar.TIMESTAMPTZ)]
        alias = self.alias(match["alias"], token.at)
        if alias is None:
            return []
        column = alias.view.column(match["column"], self.raw.source.span(token.at))
        if column is None:
            self.broken = True
            return []
        if column.type.scalar not in TIMESTAMPS or column.type.array:
            message = f'"{match["column"]}" is no timestamp'
            self.error(token.at, "S078", message, "write {now} for a timestamptz")
            return []
        return [Now(column.type.scalar)]


def walk(trees: Sequence[Tree]) -> Iterator[Token]:
    """All tokens, those in clauses too."""
    for tree in trees:
        if isinstance(tree, Token):
            yield tree
        elif isinstance(tree, IfClause):
            yield from walk(tree.body)
        else:
            for body in tree.bodies:
                yield from walk(body)


def join(nodes: Sequence[QueryNode]) -> tuple[QueryNode, ...]:
    """The same with neighbouring texts as one."""
    out: list[QueryNode] = []
    for node in nodes:
        if isinstance(node, SqlText) and out and isinstance(out[-1], SqlText):
            out[-1] = SqlText(out[-1].text + node.text)
        else:
            out.append(node)
    return tuple(out)


def _is_space(tree: Tree | None) -> bool:
    return isinstance(tree, Token) and tree.kind is Kind.SPACE


def _is_line_comment(tree: Tree | None) -> bool:
    return isinstance(tree, Token) and tree.kind is Kind.LINE_COMMENT


def _lead(trees: Sequence[Tree], at: int) -> str | None:
    """The space before a clause; None if a line comment needs it where it is."""
    before = trees[at - 1] if at else None
    if not isinstance(before, Token) or before.kind is not Kind.SPACE:
        return ""
    return None if at > 1 and _is_line_comment(trees[at - 2]) else before.text


def _gap(after: Tree | None) -> list[QueryNode]:
    """What keeps a clause apart from what follows it."""
    if after is None or _is_space(after):
        return []
    if isinstance(after, Token) and (after.text[0] in "),;]" or after.kind is Kind.LINE_COMMENT):
        return []
    return [SqlText(" ")]
