"""Fixtures for all Python tests."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import cluster
import pytest
from database import Database

TOP = Path(__file__).resolve().parents[1]
_numbers = itertools.count()


@pytest.fixture(scope="session")
def top() -> Path:
    """The top of the source tree."""
    return TOP


@pytest.fixture(scope="session")
def build() -> Path:
    """The plain build, made by `./dev build` or `./dev test`."""
    folder = Path(os.environ.get("STELE_BUILD") or TOP / "build") / "plain"
    assert (folder / "build.ninja").exists(), "nothing is built; run ./dev build"
    return folder


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URL of a server: the one of `./dev test`, or one of our own."""
    url = os.environ.get("STELE_DSN")
    if url:
        yield url
        return
    with cluster.Cluster() as own:
        yield own.url()


@pytest.fixture
def database(server: str) -> Iterator[Database]:
    """A new database for one test."""
    name = f"p_{os.getpid()}_{next(_numbers)}"
    cluster.psql(server, f"CREATE DATABASE {name} TEMPLATE template0")
    yield Database(urlsplit(server)._replace(path=f"/{name}").geturl())
    cluster.psql(server, f"DROP DATABASE {name} WITH (FORCE)")
