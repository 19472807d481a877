"""The only writer: compares, writes beside, renames. Never touches a file that is right already."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path


def write_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Writes what differs into `folder`, which is made if need be; the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        folder / name
        for name, text in sorted(files.items())
        if write_file(folder / name, text)
    ]


def write_file(path: Path, text: str) -> bool:
    """Writes one file unless it holds `text` already; whether it wrote.

    A reader sees the old file or the new one, never a part.
    """
    data = text.encode()
    try:
        if path.read_bytes() == data:
            return False
    except FileNotFoundError:
        pass
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(data)
        if path.exists():
            beside.chmod(path.stat().st_mode & 0o7777)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return True


def depfile_text(targets: Iterable[Path], inputs: Iterable[Path]) -> str:
    """A make rule: what the targets depend on."""
    left = " ".join(_escape(path) for path in targets)
    right = " \\\n  ".join(_escape(path) for path in sorted(set(inputs)))
    return f"{left}: {right}\n"


def _escape(path: Path) -> str:
    text = path.as_posix()
    return text.replace("\\", "\\\\").replace(" ", "\\ ").replace("#", "\\#").replace("$", "$$")
