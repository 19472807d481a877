"""Generated functions do what they promise: compiled, linked with the library, run on a server."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from database import Database
from stele.cli import main

TOP = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def program(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/codegen/shop_run.c on the built library."""
    folder = tmp_path_factory.mktemp("shop")
    assert main(["generate", "--out", str(folder), str(TOP / "tests/schemas/shop.yaml")]) == 0
    (library,) = build.glob("**/libstele.so")
    command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{folder}"]
    command += [f"-I{TOP}/runtime/include", f"{TOP}/tests/codegen/shop_run.c"]
    command += [f"{folder}/shop.gen.c", f"-L{library.parent}", "-lstele"]
    command += [f"-Wl,-rpath,{library.parent}", "-o", f"{folder}/shop"]
    subprocess.run(command, check=True)
    return folder / "shop"


@pytest.mark.parametrize("prefix", ["", "app1_"])
def test_every_kind_of_function(program: Path, prefix: str, database: Database) -> None:
    env = {**os.environ, "STELE_DSN": database.url, "STELE_PREFIX": prefix}
    done = subprocess.run([program], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    tables = database.psql(
        "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p')"
        f" AND relnamespace = 'public'::regnamespace AND relname LIKE '{prefix}%'"
    )
    assert int(tables) >= 16
