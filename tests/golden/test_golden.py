"""Whole generated files, and the mirror in generated/, are what the generator writes today.

Refresh with the command that a failure prints, and read the difference.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from stele.cli import main

TOP = Path(__file__).resolve().parents[2]
GOLDEN = TOP / "tests/golden"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/expected"))


def check(capsys: pytest.CaptureFixture[str], generated: str, schema: str) -> None:
    """Compares as `stele check` does, from the top folder, so that its advice can be followed."""
    code = main(["check", "--sql", "--generated", generated, schema])
    assert code == 0, capsys.readouterr().err


def test_there_are_cases() -> None:
    assert {"empty", "everything", "minimal"} <= set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_golden(
    case: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(TOP)
    check(capsys, f"tests/golden/{case}/expected", f"tests/golden/{case}")


def test_the_mirror_is_current(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(TOP)
    check(capsys, "generated", "schema")
