"""What a client is told when the connection ends at any message, against what is stored then.

Each case runs outcome_probe through a proxy that ends the connection at one message, asks the
database afterwards, and compares. Success without the row, or "not stored" with the row, is a lie;
"unknown" is said where nobody can know, and nowhere else.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from cutproxy import Cut, CutProxy, address_of
from database import Database
from waiting import eventually

PIPELINES = ("pipeline", "snapshot", "pipeline_in")
SCENARIOS = ("first", "prepare", "prepared", "transaction", "run", *PIPELINES)
TWO = ("transaction", "run", *PIPELINES)
ROWS = {name: "1,2" for name in TWO}
AT_ONCE = ("first", "prepare", "prepared", "pipeline", "snapshot")  # stored with the answer


@dataclass(frozen=True)
class Outcome:
    """What the probe printed, and the ids stored after it."""

    step: str
    status: str
    unknown: bool
    retryable: bool
    sqlstate: str
    elapsed_ms: int
    stored: str


@pytest.fixture(scope="session")
def probe(build: Path) -> Path:
    path = build / "tests" / "db" / "outcome_probe"
    assert path.exists(), "not built"
    return path


def through(url: str, folder: Path) -> str:
    """The URL with the proxy's socket in place of the server's."""
    parts = urlsplit(url)
    user = f"{parts.username}@" if parts.username else ""
    query = {k: v[0] for k, v in parse_qs(parts.query).items() if k not in ("host", "port")}
    query["host"] = str(folder)
    return f"postgresql://{user}{parts.path}?{urlencode(query)}"


def run_probe(probe: Path, url: str, scenario: str, timeout_ms: int = 20000) -> list[str]:
    done = subprocess.run(
        [probe, scenario, str(timeout_ms)],
        env={**os.environ, "STELE_DSN": url},
        capture_output=True,
        text=True,
        errors="replace",  # libpq quotes the bytes it was sent
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def nobody_is_left(database: Database) -> bool:
    sql = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    return database.psql(sql).strip() == "0"


def stored(database: Database) -> str:
    assert eventually(lambda: nobody_is_left(database))
    every = "coalesce(string_agg(id::text, ',' ORDER BY id), '')"
    return database.psql(f"SELECT {every} FROM kept WHERE id < 100").strip()


@pytest.fixture
def attempt(probe: Path, database: Database) -> Callable[..., tuple[Outcome, CutProxy]]:
    database.psql("CREATE TABLE kept (id bigint PRIMARY KEY)")

    def once(scenario: str, cut: Cut, timeout_ms: int = 20000) -> tuple[Outcome, CutProxy]:
        database.psql("TRUNCATE kept")
        with CutProxy(address_of(database.url), cut) as proxy:
            words = run_probe(probe, through(database.url, proxy.folder), scenario, timeout_ms)
        outcome = Outcome(
            words[0],
            words[1],
            words[2] == "1",
            words[3] == "1",
            words[4],
            int(words[5]),
            stored(database),
        )
        return outcome, proxy

    return once


Attempt = Callable[..., tuple[Outcome, CutProxy]]


def judge(scenario: str, cut: Cut, outcome: Outcome) -> str:
    """What is wrong with what the client was told, '' if nothing."""
    rows = ROWS.get(scenario, "1")
    said = f"{scenario} {cut}: {outcome}"
    if outcome.stored not in ("", rows):
        return f"half of it is stored: {said}"
    if outcome.status == "STELE_OK":
        return "" if outcome.stored == rows else f"success without the rows: {said}"
    if outcome.unknown != (outcome.status == "STELE_E_UNKNOWN"):
        return f"flag and status differ: {said}"
    if not outcome.unknown and outcome.stored:
        return f"stored, and said not to be: {said}"
    if outcome.unknown and outcome.retryable:
        return f"unknown, and said to be retryable: {said}"
    if outcome.unknown != may_be_unknown(scenario, outcome):
        return f"unknown in the wrong place: {said}"
    return ""


def may_be_unknown(scenario: str, outcome: Outcome) -> bool:
    """The connection went while an answer was outstanding that would have meant durability."""
    return scenario in AT_ONCE or outcome.step == "commit"


def test_uncut_connections_tell_success(attempt: Attempt) -> None:
    for scenario in SCENARIOS:
        outcome, _ = attempt(scenario, Cut("never"))
        assert outcome.status == "STELE_OK"
        assert outcome.stored == ROWS.get(scenario, "1")


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_cut_at_each_message(attempt: Attempt, scenario: str, side: str, half: bool) -> None:
    _, whole = attempt(scenario, Cut("never"))
    # Of one side's messages the last may be the goodbye.
    count = whole.count(side) - sum(1 for who, kind in whole.log if who == side and kind == b"X")
    wrong = []
    seen = set()
    assert count >= 4
    for index in range(count):
        cut = Cut("client" if side == "client" else "server", index, half=half)
        outcome, proxy = attempt(scenario, cut)
        assert proxy.done
        seen.add(outcome.status)
        wrong.append(judge(scenario, cut, outcome))
    assert not any(wrong), "\n".join(line for line in wrong if line)
    if scenario == "run":
        # Lost before COMMIT it was run again on another connection; lost within it, it was not.
        assert seen == {"STELE_OK", "STELE_E_UNKNOWN"}
    elif scenario not in AT_ONCE:
        assert seen == {"STELE_E_LOST", "STELE_E_UNKNOWN"}
    else:
        assert seen == {"STELE_E_UNKNOWN"}


def test_a_client_that_trusts_command_complete_is_wrong(attempt: Attempt) -> None:
    """The control: the same cuts make a liar of what is often written."""
    _, whole = attempt("naive", Cut("never"))
    lies = 0
    for index in range(whole.count("client")):
        outcome, _ = attempt("naive", Cut("client", index))
        lies += outcome.status == "STELE_OK" and outcome.stored == ""
    assert lies >= 1


@pytest.mark.parametrize("scenario", ["first", "prepare", "prepared", "transaction", *PIPELINES])
def test_silence_ends_at_the_deadline(attempt: Attempt, scenario: str) -> None:
    for half in (False, True):
        for index in (0, 2, 3):
            cut = Cut("server", index, half=half, silent=True)
            outcome, _ = attempt(scenario, cut, 300)
            assert outcome.status in ("STELE_E_TIMEOUT", "STELE_E_UNKNOWN")
            assert outcome.unknown == may_be_unknown(scenario, outcome)
            # Silence has no end of its own; a machine that stands still has.
            assert 300 <= outcome.elapsed_ms < 20000


GARBAGE = [
    b"\xff" * 64,
    b"Z\x00\x00\x00\x00",
    b"Z\x7f\xff\xff\xffI",
    b"D\x00\x00\x00\x06\xff\xff",
    b"E\x00\x00\x00\x05\x00",
    b"C\x00\x00\x00\x04",
    b"T\x00\x00\x00\x08\x7f\xffxx",
    b"S\x00\x00\x00\x06ab",
    b"\x00" * 64,
]


@pytest.mark.parametrize("scenario", ["first", "prepare", "prepared", "transaction", *PIPELINES])
def test_garbage_is_no_answer(attempt: Attempt, scenario: str) -> None:
    wrong = []
    for garbage in GARBAGE:
        for index in (0, 3):
            cut = Cut("server", index, garbage=garbage)
            outcome, _ = attempt(scenario, cut, 500)
            lies = outcome.status == "STELE_OK" and not outcome.stored
            hides = outcome.status != "STELE_OK" and outcome.stored and not outcome.unknown
            if lies or hides:
                wrong.append(f"{cut}: {outcome}")
    assert not wrong, "\n".join(wrong)


@contextmanager
def fake_server(answer: bytes, stays: bool) -> Iterator[Path]:
    """Answers the first message with these bytes, then hangs up or stays silent."""
    with tempfile.TemporaryDirectory(prefix="stele-fake-") as folder:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{folder}/.s.PGSQL.5432")
        listener.listen(16)
        gone = threading.Event()

        def serve(client: socket.socket) -> None:
            with client:
                client.recv(65536)
                try:
                    client.sendall(answer)
                except OSError:
                    return
                if stays:
                    gone.wait(20)

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(client,), daemon=True).start()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield Path(folder)
        finally:
            gone.set()
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            acceptor.join()


ANSWERS = [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 4096, b"R\x00\x00", b"E" * 64]


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_is_no_server_is_told_from_one(probe: Path, answer: bytes) -> None:
    with fake_server(answer, stays=False) as folder:
        words = run_probe(probe, f"postgresql://x@/x?host={folder}", "first")
    assert words[0] == "open"
    assert words[1] in ("STELE_E_CONNECT", "STELE_E_AUTH")
