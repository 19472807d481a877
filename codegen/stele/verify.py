"""Lets a real server judge the schema: creates it, prepares every statement, compares.

Everything happens in one transaction that is never committed, in schemas of its own: nothing is
left in the database, however the run ends. All is done twice, as an application may run: with bare
names, and with a schema and a prefix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stele import verify_nulls
from stele.diag import Diagnostics
from stele.libpq import Connection
from stele.model import Schema
from stele.verify_compare import Comparer
from stele.verify_create import Creator
from stele.verify_plan import Plans
from stele.verify_queries import QueryVerifier
from stele.verify_session import Session
from stele.verify_tables import TableVerifier


@dataclass(frozen=True, slots=True)
class Report:
    """What was done; what was found is in the diagnostics."""

    server: str
    statements: int
    outer_joins: bool  # whether it was followed what they make NULL


def verify(
    schema: Schema,
    url: str,
    diags: Diagnostics,
    progress: Callable[[int, str], None] = lambda count, what: None,
) -> Report:
    """Verifies against a server. Raises VerifyProblem, ConnectionProblem and LibpqMissing."""
    connection = Connection(url)
    try:
        session = Session(connection, schema, progress=progress)
        session.open()
        run = _Run(session, diags)
        session.use_bare_names()
        run.all(plans=True)
        session.use_own_names()
        run.all(plans=False)
        number = connection.server_version
        server = f"{number // 10000}.{number % 10000}"
        return Report(server, session.statements, run.pglast is not None)
    finally:
        connection.close()


class _Run:
    """What is verified under each of the names."""

    def __init__(self, session: Session, diags: Diagnostics) -> None:
        self.session = session
        self.comparer = Comparer(session, diags)
        self.creator = Creator(session, diags)
        self.pglast = verify_nulls.load()
        self.c_prefixes = {module.name: module.c_prefix for module in session.schema.modules}

    def all(self, plans: bool) -> None:
        self.creator.create()
        planner = Plans(self.session, self.comparer) if plans else None
        if planner:
            planner.learn()
        for module in self.session.schema.modules:
            for table in module.tables:
                if (module.name, table.name) in self.creator.broken:
                    continue
                verifier = TableVerifier(
                    self.session, self.comparer, planner, module, table, self.c_prefixes
                )
                verifier.run()
            queries = QueryVerifier(
                self.session, self.comparer, planner, module, self.creator.broken, self.pglast
            )
            queries.run()
