"""The sessions tables on a real server, and clients that run the module's queries there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import cluster
import pytest
from stele.ddl_text import DdlOptions, optional_indexes
from storequery import Client, Queries

TOP = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def queries() -> Queries:
    return Queries(TOP / "schema/sessions.yaml")


@pytest.fixture(scope="session")
def tables(server: str, queries: Queries) -> Iterator[str]:
    """The URL of a database that has the tables with all indexes."""
    name = f"sessions_{os.getpid()}"
    url = urlsplit(server)._replace(path=f"/{name}").geturl()
    cluster.psql(server, f"CREATE DATABASE {name} TEMPLATE template0")
    cluster.psql(url, queries.ddl(DdlOptions(optional=frozenset(optional_indexes(queries.module)))))
    yield url
    cluster.psql(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def connect(tables: str, queries: Queries) -> Iterator[Callable[[], Client]]:
    """Makes clients of that database, whose tables are empty at first."""
    made: list[Client] = []

    def make() -> Client:
        made.append(Client(queries, tables))
        return made[-1]

    make().sql("; ".join(f"DELETE FROM {table.name}" for table in queries.module.tables))
    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(connect: Callable[[], Client]) -> Client:
    return connect()
