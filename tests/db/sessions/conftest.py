"""The sessions tables on a real server, and clients that run the module's queries there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from database import Database
from stele.ddl_text import DdlOptions, optional_indexes
from storequery import Client, Queries

TOP = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def queries() -> Queries:
    return Queries(TOP / "schema/sessions.yaml")


@pytest.fixture
def connect(database: Database, queries: Queries) -> Iterator[Callable[[], Client]]:
    """Makes clients of a database that has the tables with all indexes."""
    every = frozenset(optional_indexes(queries.module))
    database.psql(queries.ddl(DdlOptions(optional=every)))
    made: list[Client] = []

    def make() -> Client:
        made.append(Client(queries, database.url))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(connect: Callable[[], Client]) -> Client:
    return connect()
