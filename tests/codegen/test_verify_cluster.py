"""The server that `stele verify` starts for itself is there when needed, and gone afterwards."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from stele.libpq import Connection, ConnectionProblem, ServerError, accepts
from stele.verify_cluster import ClusterProblem, throwaway_cluster
from waiting import eventually

TOP = Path(__file__).resolve().parents[2]


def folder_of(url: str) -> Path:
    return Path(parse_qs(urlsplit(url).query)["host"][0])


def server_of(folder: Path) -> int:
    return int((folder / "data/postmaster.pid").read_text().split("\n", 1)[0])


def runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_it_lives_for_a_block() -> None:
    with throwaway_cluster() as url:
        folder = folder_of(url)
        pid = server_of(folder)
        assert runs(pid) and accepts(url)
        assert os.stat(folder).st_mode & 0o077 == 0
    assert not folder.exists() and not runs(pid)


def test_it_goes_with_an_error() -> None:
    with pytest.raises(KeyError), throwaway_cluster() as url:
        folder = folder_of(url)
        raise KeyError
    assert not folder.exists()


def test_it_dies_with_who_started_it_and_the_next_removes_its_folder() -> None:
    program = (
        "import sys\n"
        "from stele.verify_cluster import throwaway_cluster\n"
        "with throwaway_cluster() as url:\n"
        "    print(url, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(TOP / "codegen")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        folder = folder_of(child.stdout.readline().strip())
        pid = server_of(folder)
        child.send_signal(signal.SIGKILL)
    assert eventually(lambda: not runs(pid))
    assert folder.exists()
    with throwaway_cluster() as url:
        assert not folder.exists()
        assert folder_of(url).exists()


def test_the_command_starts_one() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "stele", "verify", "."],
        cwd=TOP / "tests/golden/verify/names",
        env={**os.environ, "PYTHONPATH": str(TOP / "codegen")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert re.fullmatch(r"\d+ statements prepared, 1 problem\n", done.stdout)


def test_a_machine_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o755)  # the server's user must reach it
        monkeypatch.setenv("STELE_PG_BINDIR", name)
        with pytest.raises(ClusterProblem, match="initdb: No such file"), throwaway_cluster():
            pass
        initdb = Path(name) / "initdb"
        initdb.write_text("#!/bin/sh\necho 'no space left'; exit 1\n")
        initdb.chmod(0o755)
        with pytest.raises(ClusterProblem, match="failed: no space left"), throwaway_cluster():
            pass


def test_what_libpq_says(server: str) -> None:
    connection = Connection(server)
    assert connection.execute("SELECT 1, NULL, 'é'") == [("1", None, "é")]
    connection.execute("CREATE TEMP TABLE t (a int NOT NULL, b text)")
    found = connection.describe("SELECT b, a, 1 FROM t WHERE a = $1 AND b = $2", [0, 25])
    assert found.params == (23, 25)
    assert [(one.name, one.type, one.number) for one in found.columns] == [
        ("b", 25, 2),
        ("a", 23, 1),
        ("?column?", 23, 0),
    ]
    with pytest.raises(ServerError) as caught:
        connection.describe("SELECT 'é', missing FROM t", [])
    assert (caught.value.sqlstate, caught.value.position) == ("42703", 13)
    connection.close()
    with pytest.raises(ConnectionProblem):
        Connection("host=/nowhere")


def test_a_connection_that_breaks(server: str) -> None:
    connection = Connection(server)
    with pytest.raises(ConnectionProblem):
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    connection.close()
