"""From a place in the SQL that a query became back to the place in its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from stele.diag import Diagnostics
from stele.model import Span
from stele.partsql import UNSET, Shape, Switch
from stele.query_clause import ByClause, ClauseReader, IfClause, Tree
from stele.query_load import RawQuery
from stele.query_scan import SILENT, Kind, Token, scan


@dataclass(frozen=True, slots=True)
class QuerySource:
    """A query as its author wrote it."""

    raw: RawQuery
    trees: Sequence[Tree]
    switches: Mapping[str, Switch]

    @staticmethod
    def of(raw: RawQuery, switches: Sequence[Switch]) -> QuerySource:
        trees = ClauseReader(raw.source, Diagnostics()).read(raw.body)
        return QuerySource(raw, trees, {one.name: one for one in switches})

    def span(self, text: str, position: int, shape: Shape) -> Span:
        """Where the character of `text`, counted from 1, comes from; the query's name if unknown.

        The tokens of both texts are the same but for what stands in braces.
        """
        if not position:
            return self.raw.span
        written = [one for one in self._tokens(self.trees, shape) if one.kind not in SILENT]
        made = [one for one in scan(text) if one.kind not in SILENT]
        at = max((i for i, one in enumerate(made) if one.at < position), default=0)
        matcher = SequenceMatcher(None, _keys(written), _keys(made), autojunk=False)
        last = -1
        for block in matcher.get_matching_blocks():
            if block.b <= at < block.b + block.size:
                token = written[block.a + at - block.b]
                inside = position - 1 - made[at].at
                return self.raw.source.span(token.at + min(inside, len(token.text) - 1))
            if block.size and block.b + block.size <= at:
                last = block.a + block.size - 1
        place = min(last + 1, len(written) - 1)  # what the braces there became
        return self.raw.source.span(written[place].at) if written else self.raw.span

    def _tokens(self, trees: Sequence[Tree], shape: Shape) -> Iterator[Token]:
        """Those that are in force in a shape."""
        for tree in trees:
            if isinstance(tree, Token):
                yield tree
            elif isinstance(tree, IfClause):
                if self._holds(tree, shape):
                    yield from self._tokens(tree.body, shape)
            else:
                yield from self._tokens(tree.bodies[self._chosen(tree, shape)], shape)

    def _holds(self, clause: IfClause, shape: Shape) -> bool:
        params = {param.name: i for i, param in enumerate(self.raw.params)}
        for name in clause.names:
            if name.text in params:
                if shape.states[params[name.text]] == UNSET:
                    return False
            elif not shape.bits >> self.switches[name.text].shift & 1:
                return False
        return True

    def _chosen(self, clause: ByClause, shape: Shape) -> int:
        switch = self.switches[clause.name.text]
        return shape.bits >> switch.shift & ((1 << (switch.count - 1).bit_length()) - 1)


def _keys(tokens: Sequence[Token]) -> list[str]:
    """What makes two tokens the same; a parameter has a name here and a number there."""
    return ["$" if one.kind in (Kind.PARAM, Kind.POSITIONAL) else one.text for one in tokens]
