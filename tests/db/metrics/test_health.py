"""Health, listening and ringing on a standby: a real server in recovery."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster


@pytest.fixture(scope="module")
def own() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


def look(build: Path, url: str) -> tuple[dict[str, Any], str, str]:
    """Health, and what opening a listener and a doorbell answers."""
    done = subprocess.run(
        [build / "tests/db/metrics/metrics_driver", "health"],
        env={**os.environ, "STELE_DSN": url},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    text, listener, bell = done.stdout.splitlines()
    health: dict[str, Any] = json.loads(text)
    return health, listener, bell


def test_a_standby_says_so(build: Path, own: Cluster) -> None:
    health, listener, bell = look(build, own.url())
    assert health["status"] == "ok"
    assert health["server"]["role"] == "primary"
    assert (listener, bell) == ("STELE_OK", "STELE_OK")

    own.stop()
    (own.folder / "data/standby.signal").touch()
    own.start()
    health, listener, bell = look(build, own.url())
    assert health["status"] == "ok"  # this handle takes any role
    assert health["server"]["role"] == "standby"
    assert health["server"]["reachable"] is True
    # There is nothing to poll a server in vain for: who asks is told what to do instead.
    assert (listener, bell) == ("STELE_E_UNSUPPORTED", "STELE_E_UNSUPPORTED")
