"""A C++17 program compiles against generated headers, links with generated C, and runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from database import Database

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
EXPECTED = """\
Pen 1.50 JPY tags 2 weight 0.5 rating NULL
writes weight NULL version 2
again: STELE_E_CONFLICT
stock 7 available 7
"""


def run(command: Sequence[str | Path], **more: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **more})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("compilers", [("gcc", "g++"), ("clang", "clang++")], ids=["gcc", "clang"])
def test_it_compiles_links_and_runs(
    compilers: tuple[str, str], top: Path, build: Path, database: Database, tmp_path: Path
) -> None:
    if database.version < 15:
        pytest.skip("the shop has a key with NULLS NOT DISTINCT, which PostgreSQL has from 15 on")
    cc, cxx = compilers
    generated = build / "tests/db/generated"
    include = [f"-I{top / 'runtime/include'}", f"-I{generated}"]
    out = ["-c", "-o"]
    run([cc, "-std=c11", *WARNINGS, *include, *out, tmp_path / "shop.o", generated / "shop.gen.c"])
    source = Path(__file__).parent / "program.cpp"
    run([cxx, "-std=c++17", *WARNINGS, *include, *out, tmp_path / "program.o", source])
    library = build / "runtime"
    objects = [tmp_path / "program.o", tmp_path / "shop.o"]
    link = [f"-L{library}", "-lstele", f"-Wl,-rpath,{library}", "-o", tmp_path / "program"]
    run([cxx, *map(str, objects), *map(str, link)])
    assert run([tmp_path / "program"], STELE_DSN=database.url) == EXPECTED
