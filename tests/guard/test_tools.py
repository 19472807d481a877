"""The tools that read the sources: mypy, clang-format, ruff where it can be had."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import PurePath

import project
import pytest

RUFF = project.ruff()


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=project.TOP, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def folders_of_python() -> list[list[str]]:
    """Files to give to mypy at once: no two modules of one name, as in two test folders."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in project.files(r".*\.py"):
        path = PurePath(name)
        groups["codegen" if path.parts[0] == "codegen" else str(path.parent)].append(name)
    return [files for _, files in sorted(groups.items())]


@pytest.mark.parametrize("files", folders_of_python(), ids=[g[0] for g in folders_of_python()])
def test_types(files: list[str]) -> None:
    run(sys.executable, "-m", "mypy", *files)


def test_c_is_formatted() -> None:
    formatter = shutil.which("clang-format-14") or shutil.which("clang-format")
    assert formatter
    done = subprocess.run(
        [formatter, "--dry-run", "--Werror", "--style=file", *project.files(r".*\.[ch]")],
        cwd=project.TOP,
        capture_output=True,
        text=True,
    )
    wrong = sorted(set(re.findall(r"^(\S+?):\d+:\d+: error", done.stderr, re.MULTILINE)))
    assert not wrong, "run ./dev format"
    assert done.returncode == 0, done.stderr


if RUFF:  # no package of Debian 12; ./dev test fetches it where a registry can be reached

    def test_python_is_clean() -> None:
        assert RUFF
        run(RUFF, "check", "--no-fix", "--no-cache", "--output-format=concise", ".")

    def test_python_is_formatted() -> None:
        assert RUFF
        run(RUFF, "format", "--check", "--no-cache", ".")  # if not: ./dev format
