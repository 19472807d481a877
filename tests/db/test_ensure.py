"""Many processes create the same tables at once: with Stele, without it, and side by side."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from database import Database

ROUNDS = 50
PROCESSES = 8

NAMES = "app_name varchar(255) NOT NULL"
SESSION = f"{NAMES}, user_id varchar(255) NOT NULL, session_id varchar(255) NOT NULL"
CREATED = "created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP"
MORTAL = (
    "updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,"
    " expires_at timestamp DEFAULT NULL, deleted_at timestamp DEFAULT NULL"
)
TABLES = {
    "session_states": f"{SESSION}, state jsonb, {CREATED}",
    "session_events": f"{SESSION}, event jsonb NOT NULL, {CREATED}",
    "session_track_events": f"{SESSION}, track varchar(255) NOT NULL, event jsonb NOT NULL,"
    f" {CREATED}",
    "session_summaries": f"{SESSION}, filter_key varchar(255) NOT NULL DEFAULT '', summary jsonb",
    "app_states": f"{NAMES}, key varchar(255) NOT NULL, value text, {CREATED}",
    "user_states": f"{NAMES}, user_id varchar(255) NOT NULL, key varchar(255) NOT NULL,"
    f" value text, {CREATED}",
}
UNIQUE = {
    "session_states": "app_name, user_id, session_id",
    "session_summaries": "app_name, user_id, session_id, filter_key",
    "app_states": "app_name, key",
    "user_states": "app_name, user_id, key",
}
LOOKUP = {
    "session_events": "app_name, user_id, session_id, created_at",
    "session_track_events": "app_name, user_id, session_id, track, created_at",
}


def peer_statements() -> list[str]:
    """What a program does that knows no lock: tables, then indexes, none of it in a transaction."""
    out = [
        f"CREATE TABLE IF NOT EXISTS @.p_{table} (id bigserial PRIMARY KEY, {columns}, {MORTAL})"
        for table, columns in TABLES.items()
    ]
    for what, keys, suffix, where in (
        ("UNIQUE INDEX", UNIQUE, "unique_active", " WHERE deleted_at IS NULL"),
        ("INDEX", LOOKUP, "lookup", ""),
        ("INDEX", dict.fromkeys(TABLES, "expires_at"), "expires", " WHERE expires_at IS NOT NULL"),
    ):
        out += [
            f"CREATE {what} IF NOT EXISTS idx_@_p_{table}_{suffix}"
            f" ON @.p_{table} ({columns}){where}"
            for table, columns in keys.items()
        ]
    return out


class Starter:
    """One process of ensure_many, connected and waiting for the name of a schema."""

    def __init__(self, command: Sequence[str | Path]):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.answer() == "ready"

    def go(self, schema: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(schema + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(timeout=120) == 0


@contextmanager
def starters(commands: Sequence[Sequence[str | Path]]) -> Iterator[list[Starter]]:
    started: list[Starter] = []
    try:
        for command in commands:
            started.append(Starter(command))
        yield started
    except BaseException:
        for one in started:
            one.process.kill()
        raise
    finally:
        for one in started:
            if one.process.poll() is None:
                one.close()


def rounds(database: Database, commands: Sequence[Sequence[str | Path]]) -> list[list[str]]:
    """What each process answered in each round, each round in a schema without a table."""
    out = []
    with starters(commands) as all_of_them:
        for number in range(ROUNDS):
            schema = f"r{number}"
            database.psql(f"CREATE SCHEMA {schema}")
            for one in all_of_them:
                one.go(schema)
            out.append([one.answer() for one in all_of_them])
            found = database.psql(
                "SELECT count(*) FILTER (WHERE relkind = 'r'),"
                " count(*) FILTER (WHERE relkind = 'i')"
                f" FROM pg_class WHERE relnamespace = '{schema}'::regnamespace"
            )
            # Six tables, their primary keys and twelve indexes, whoever made them; a queue of ours.
            wanted = "7|22" if any("ensure" in command for command in commands) else "6|18"
            if all(answer == "ok" for answer in out[-1]):
                assert found == wanted, f"round {number}: {found}"
            database.psql(f"DROP SCHEMA {schema} CASCADE")
    return out


@pytest.fixture
def program(build: Path) -> Path:
    return build / "tests/db/ensure_many"


@pytest.fixture
def peer_file(tmp_path: Path) -> Path:
    path = tmp_path / "peer.sql"
    path.write_text("\n".join(peer_statements()) + "\n")
    return path


def test_eight_processes_at_once_all_succeed(database: Database, program: Path) -> None:
    command: list[str | Path] = [program, "ensure", database.url]
    answers = rounds(database, [command] * PROCESSES)
    assert answers == [["ok"] * PROCESSES] * ROUNDS


def test_without_a_lock_some_fail(database: Database, program: Path, peer_file: Path) -> None:
    """The control: the race is real, and the rounds above would have met it."""
    command: list[str | Path] = [program, "naive", database.url, peer_file]
    answers = rounds(database, [command] * PROCESSES)
    failed = [number for number, answer in enumerate(answers) if answer != ["ok"] * PROCESSES]
    print(f"without a lock {len(failed)} of {ROUNDS} rounds failed")
    assert failed
    assert any("duplicate key" in one or "already exists" in one for r in answers for one in r)


def test_beside_peers_that_know_no_lock(database: Database, program: Path, peer_file: Path) -> None:
    ours: list[str | Path] = [program, "ensure", database.url]
    peers: list[str | Path] = [program, "naive-retry", database.url, peer_file]
    answers = rounds(database, [ours, peers] * (PROCESSES // 2))
    assert answers == [["ok"] * PROCESSES] * ROUNDS
