"""The source tree as the guards see it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


@cache
def tracked() -> tuple[str, ...]:
    """All files of the project, sorted: what Git tracks or would, or all there is in an export."""
    if (TOP / ".git").exists():
        done = subprocess.run(
            [
                *("git", "-c", "safe.directory=*", "ls-files", "-z"),
                *("--cached", "--others", "--exclude-standard"),
            ],
            cwd=TOP,
            capture_output=True,
            text=True,
            check=True,
        )
        names = {name for name in done.stdout.split("\0") if name}
    else:
        names = {
            str(path.relative_to(TOP))
            for path in TOP.rglob("*")
            if path.is_file() and not {"build", "__pycache__"} & set(path.relative_to(TOP).parts)
        }
    return tuple(sorted(name for name in names if os.path.lexists(TOP / name)))


def files(pattern: str) -> list[str]:
    """Tracked files whose whole path matches the regular expression."""
    return [name for name in tracked() if re.fullmatch(pattern, name)]


def read(name: str) -> str:
    return (TOP / name).read_text(encoding="utf-8")


def meson_list(name: str, variable: str) -> list[str]:
    """The strings of `variable = files(...)` in a meson.build."""
    match = re.search(rf"^\s*{variable} = files\((.*?)\)$", read(name), re.DOTALL | re.MULTILINE)
    assert match, f"{name} has no list {variable}"
    return re.findall(r"'([^']+)'", match[1])


def meson_version() -> str:
    """The version of the project, as meson.build has it."""
    match = re.search(r"^  version: '([^']+)',", read("meson.build"), re.MULTILINE)
    assert match
    return match[1]


def ruff() -> str | None:
    """The program that lints and formats Python: of the version that ./dev fetches, or none."""
    version = re.search(r"^RUFF_VERSION=(.+)$", read("dev"), re.MULTILINE)
    assert version
    build = os.environ.get("STELE_BUILD") or f"{TOP}/build"
    for found in (shutil.which("ruff", path=f"{build}/venv/bin"), shutil.which("ruff")):
        if found:
            said = subprocess.run([found, "--version"], capture_output=True, text=True).stdout
            if said.strip() == f"ruff {version[1]}":
                return found
    return None
