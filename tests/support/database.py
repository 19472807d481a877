"""What the fixture `database` gives to Python tests."""

from __future__ import annotations

from dataclasses import dataclass

import cluster


@dataclass(frozen=True)
class Database:
    """An empty database of a real server."""

    url: str

    def psql(self, sql: str) -> str:
        """Runs SQL and returns its rows as unaligned text; an error of the server raises."""
        return cluster.psql(self.url, sql)

    @property
    def version(self) -> int:
        """The server's major version."""
        return int(self.psql("SHOW server_version_num")) // 10000
