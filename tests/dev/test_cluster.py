"""Private clusters: they serve, and nothing of them stays behind."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cluster
import pytest
from cluster import Cluster, ClusterError
from waiting import eventually

PROGRAM = Path(cluster.__file__)
SECONDS = 120


def servers_in(folder: Path) -> list[int]:
    """Process ids of whatever still works in the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in words and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    with Cluster() as one:
        yield one


def test_it_answers_on_a_unix_socket_only(shared: Cluster) -> None:
    assert shared.psql("SELECT 1 + 1") == "2"
    assert shared.psql("SHOW listen_addresses") == ""
    assert shared.psql("SHOW fsync") == "on"
    assert len(f"{shared.folder}/.s.PGSQL.5432") < 107


def test_an_error_of_the_server_raises(shared: Cluster) -> None:
    with pytest.raises(ClusterError, match="division by zero"):
        shared.psql("SELECT 1 / 0")


def test_the_server_never_runs_as_root(shared: Cluster) -> None:
    pid = cluster.postmaster_pid(shared.folder)
    assert pid is not None
    owner = Path(f"/proc/{pid}").stat().st_uid
    account = cluster.server_account()
    assert owner != 0
    assert owner == (account.pw_uid if account else os.geteuid())
    assert shared.folder.stat().st_mode & 0o077 == 0


def test_data_survives_a_crash_and_a_restart(shared: Cluster) -> None:
    shared.psql("CREATE TABLE kept AS SELECT 42 AS n")
    shared.restart("immediate")
    assert shared.psql("SELECT n FROM kept") == "42"
    shared.stop()
    with pytest.raises(ClusterError):
        shared.psql("SELECT 1")
    shared.start()
    assert shared.psql("SELECT n FROM kept") == "42"


def test_settings_and_databases(shared: Cluster) -> None:
    url = shared.create_database("other")
    assert cluster.psql(url, "SELECT current_database()") == "other"
    with Cluster({"timezone": "Asia/Kathmandu", "application_name": "it's"}) as one:
        assert one.psql("SHOW timezone") == "Asia/Kathmandu"
        assert one.psql("SHOW application_name") in ("psql", "it's")


def test_closing_leaves_nothing() -> None:
    with Cluster() as one:
        folder = one.folder
        assert servers_in(folder)
    assert not folder.exists()
    assert not servers_in(folder)
    one.close()


def test_a_setting_the_server_refuses_is_reported_with_its_log() -> None:
    before = set(Path(cluster.folder_parent()).glob("stele-pg-*"))
    with pytest.raises(ClusterError, match="no_such_setting"):
        Cluster({"no_such_setting": "1"})
    assert set(Path(cluster.folder_parent()).glob("stele-pg-*")) <= before


def start_run(script: str) -> tuple[subprocess.Popen[str], Path]:
    """`cluster.py run` with a shell script; returns when it has printed its DSN."""
    program = subprocess.Popen(
        [sys.executable, PROGRAM, "run", "--", "sh", "-c", f'echo "$STELE_DSN"; {script}'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    folder = Path(program.stdout.readline().strip().partition("host=")[2])
    assert folder.is_dir()
    return program, folder


def finish(program: subprocess.Popen[str]) -> int:
    with program:
        return program.wait(timeout=SECONDS)


def test_run_hands_on_the_exit_code_of_its_command() -> None:
    program, folder = start_run("exit 7")
    assert finish(program) == 7
    assert not folder.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_run_clears_up_after_a_signal(number: signal.Signals) -> None:
    program, folder = start_run("exec cat")
    program.send_signal(number)
    assert finish(program) == 128 + number
    assert not folder.exists()
    assert not servers_in(folder)


def test_a_killed_run_is_cleared_up_by_its_reaper() -> None:
    program, folder = start_run("exec cat")
    program.kill()
    assert finish(program) == -signal.SIGKILL
    assert eventually(lambda: not folder.exists() and not servers_in(folder))


def test_what_a_killed_reaper_leaves_is_removed_by_the_next_start() -> None:
    program, folder = start_run("exec cat")
    reapers = [
        pid
        for pid in servers_in(folder)
        if b"\0reap\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    assert len(reapers) == 1
    os.kill(reapers[0], signal.SIGKILL)
    program.kill()
    finish(program)
    assert eventually(lambda: cluster.is_stale(folder, 0.0))
    assert servers_in(folder)
    cluster.remove_stale()
    assert not folder.exists()
    assert eventually(lambda: not servers_in(folder))


def test_a_cluster_in_use_is_not_taken_for_stale(shared: Cluster) -> None:
    cluster.remove_stale()
    assert shared.psql("SELECT 1") == "1"


def test_a_standing_cluster_stays_until_it_is_stopped(tmp_path: Path) -> None:
    state = tmp_path / "state/cluster"

    def call(action: str, *more: str) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [sys.executable, PROGRAM, action, state, *more]
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)

    missing = call("url")
    assert missing.returncode == 1 and "db start" in missing.stderr
    assert call("stop").returncode == 0
    url = call("start").stdout.strip()
    try:
        assert call("start").stdout.strip() == url
        assert call("url").stdout.strip() == url
        cluster.remove_stale()
        assert call("psql", "-XAtc", "SELECT 'here'").stdout == "here\n"
    finally:
        assert call("stop").returncode == 0
    assert call("url").returncode == 1
    assert not Path(url.partition("host=")[2]).exists()


def test_another_account_is_chosen_only_for_root() -> None:
    account = cluster.server_account()
    if os.geteuid() == 0:
        assert account is not None and account.pw_uid != 0
        assert account == pwd.getpwuid(account.pw_uid)
    else:
        assert account is None
