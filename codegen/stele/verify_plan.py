"""Has statements planned: some mistakes show only then, and large tables need an index."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from stele.libpq import ServerError
from stele.model import Span
from stele.verify_compare import Comparer
from stele.verify_session import Session


@dataclass(slots=True)
class Plans:
    """Plans are generic, and reading a whole table is what the planner does last of all."""

    session: Session
    comparer: Comparer
    _count: int = 0
    _large: dict[str, str] = field(default_factory=dict)  # a relation, and whose rows it holds

    def learn(self) -> None:
        """Finds the large tables and their partitions, under the names in force."""
        self._large = {}
        for module in self.session.schema.modules:
            names = self.session.named(module.name)
            for table in module.tables:
                if not table.large:
                    continue
                schema = names.schema_of(module.name)
                own = f'"{names.prefix}{table.name}"'
                name = f'"{schema}".{own}' if schema else own
                self._large |= {relation: table.name for relation in self._partitions(name)}

    def _partitions(self, name: str) -> Iterator[str]:
        rows = self.session.connection.execute(
            "WITH RECURSIVE r (oid) AS (SELECT pg_catalog.to_regclass("
            f"'{name}') UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i"
            " JOIN r ON r.oid = i.inhparent) SELECT n.nspname || '.' || c.relname"
            " FROM r JOIN pg_catalog.pg_class AS c ON c.oid = r.oid"
            " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        )
        return (relation for (relation,) in rows if relation)

    def check(
        self, what: str, span: Span, text: str, types: Sequence[str], warn: bool = True
    ) -> None:
        """Plans a statement, with parameters of these types. Raises what the server says of it.

        Warns, if it is to, when a large table must be read whole.
        """
        for node in _nodes(self._plan(text, types)):
            relation = f"{node.get('Schema', '')}.{node.get('Relation Name', '')}"
            if node.get("Node Type") == "Seq Scan" and relation in self._large and warn:
                table = self._large[relation]
                message = f'{what} finds no index on the large table "{table}"'
                hint = "add an index that its conditions begin with"
                self.comparer.warning("V008", span, f"{what} {table}", message, hint)

    def _plan(self, text: str, types: Sequence[str]) -> Any:
        execute = self.session.connection.execute
        head = f" ({', '.join(types)})" if types else ""
        values = f" ({', '.join(['NULL'] * len(types))})" if types else ""
        self._count += 1
        name = f"stele_verify_{self._count}"  # one that fails stays there
        try:
            execute(f"PREPARE {name}{head} AS {text}")
        except ServerError as error:  # it could be prepared before: it is none that has a plan
            self.session.recover(error)
            return []
        try:
            explain = f"EXPLAIN (FORMAT JSON, VERBOSE, COSTS OFF) EXECUTE {name}{values}"
            ((plan,),) = execute(explain)
        except ServerError as error:
            self.session.recover(error)
            raise
        execute(f"DEALLOCATE {name}")
        return json.loads(plan or "[]")


def _nodes(plan: Any) -> Iterator[dict[str, Any]]:
    """All nodes of a plan, wherever they are."""
    if isinstance(plan, list):
        for one in plan:
            yield from _nodes(one)
    elif isinstance(plan, dict):
        yield plan
        for one in plan.values():
            yield from _nodes(one)
