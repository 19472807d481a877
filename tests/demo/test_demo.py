"""The demo runs from end to end, and tells what it should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from database import Database


@pytest.fixture
def program(top: Path, build: Path, tmp_path: Path) -> Path:
    """A folder like that of a build with the demo, which is not part of the tests' own."""
    folder = tmp_path / "build"
    demo = folder / "examples/demo"
    demo.mkdir(parents=True)
    (folder / "runtime").symlink_to(build / "runtime")
    generated = build / "generated"
    command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror"]
    command += [f"-I{top / 'runtime/include'}", f"-I{top / 'stores/include'}", f"-I{generated}"]
    libraries = ["-ljansson"]
    for part in ("runtime", "stores"):
        libraries += [f"-L{build / part}", f"-Wl,-rpath,{build / part}"]
    sources = {
        "stele-demo": [top / "examples/demo/demo.c", generated / "sessions.gen.c"],
        "stele-demo-desk": [top / "examples/demo/desk.c"],
    }
    for name, files in sources.items():
        done = subprocess.run(
            [*command, *files, *libraries, "-lstele-stores", "-lstele", "-o", demo / name],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    return folder


def test_it_shows_the_main_job(top: Path, program: Path, database: Database) -> None:
    done = subprocess.run(
        [top / "examples/demo/run.sh", program, sys.executable],
        capture_output=True,
        text=True,
        env={**os.environ, "STELE_DSN": database.url},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    told = done.stdout
    events = len((top / "examples/demo/conversation.jsonl").read_text().splitlines())
    assert events >= 10
    for line in (
        "tenant acme: tables acme.session_states",
        "tenant globex: tables globex.app1_session_states",
        f"{events} events stored in {events} round trips",
        "patched: state is NULL, expires_at unchanged",
        "upserted: the same row",
        "globex had 0 sessions, and may use the same key",
        "deleted; looking for it answers STELE_E_NOT_FOUND",
        "restored; its state is ",
        "1 live of 4 rows; 3 expired, then 3 purged for good",
        "committed after 2 attempts: the first met a serialization failure",
        f"{events} events appended in {events} round trips",
        f"a worker has read {events} events, and … SIGKILL",
        "   | user: Hi, I booked the seminar room",
        "and 1 summary, in 1 round trip",
        f"deleted: 0 sessions; restored: 1, with {events} events and 1 summary",
        "   > user  Thank you! Could we have it until one?",
        "title: text?",
    ):
        assert line in told
    assert len(re.findall(r"--- page \d", told)) == -(-events // 5)
    assert told.endswith("Nothing is left behind.\n")
    # Each tenant has its own; the other's prefix shows.
    assert database.psql("SELECT count(*) FROM acme.session_events").strip() == str(events)
    assert database.psql("SELECT count(*) FROM globex.app1_session_events").strip() == "0"
    assert database.psql("SELECT count(*) FROM globex.app1_session_states").strip() == "1"
    # The second store kept its own, and a process that died did not take the summary with it.
    assert database.psql("SELECT count(*) FROM desk_session_summaries").strip() == "1"
    assert database.psql("SELECT state, attempt FROM desk_session_summary_jobs").strip() == "done|2"
