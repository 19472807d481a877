"""./dev, as newcomers meet it: from any folder, as root or not, with things missing."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import project
import pytest

DEV = project.TOP / "dev"
NOBODY = 65534
SECONDS = 900


def dev(
    *arguments: str,
    env: dict[str, str] | None = None,
    cwd: Path | str = "/",
    program: Path = DEV,
    prefix: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Runs ./dev without a terminal."""
    return subprocess.run(
        [*prefix, str(program), *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """One for all users; pytest's own are closed to others whenever a pytest of the user starts."""
    with tempfile.TemporaryDirectory(prefix="stele-dev-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


@pytest.fixture
def fakes() -> Iterator[Path]:
    """A folder of programs that come first on PATH."""
    with open_folder() as folder:
        yield folder


def first_on_path(folder: Path) -> dict[str, str]:
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


COMMANDS = ("demo", "test", "bench", "build", "format", "db", "stele")


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "stele"])
def test_every_command_has_help(command: str) -> None:
    done = dev(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: ./dev {command}")
    assert f"\n  {command} " in dev("--help").stdout


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["db"], ["db", "fly"], ["build", "--fast"], ["test", "--setup"]]
)
def test_misuse_is_told_with_the_usage(arguments: list[str]) -> None:
    done = dev(*arguments)
    assert done.returncode == 2
    assert "usage: ./dev" in done.stderr and not done.stdout


def test_help_says_all_suites_can_be_listed() -> None:
    assert "dev" in dev("test", "--list").stdout.split()


def all_installed_but(fakes: Path, package: str) -> None:
    """A Debian that lacks one package."""
    each = f'case $p in -* | {package}) ;; *) printf "installed:$p "; esac'
    script(fakes / "dpkg-query", f"for p; do {each}; done")


def test_others_are_told_the_one_command(fakes: Path) -> None:
    all_installed_but(fakes, "python3-yaml")
    script(fakes / "sudo", f"touch {fakes}/asked")
    done = dev("stele", "--version", env=first_on_path(fakes), prefix=not_root())
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "apt-get install --no-install-recommends python3-yaml"
    assert not (fakes / "asked").exists()


def test_root_installs_just_what_is_missing(fakes: Path, tmp_path: Path) -> None:
    script(fakes / "apt-get", f'echo "$@" >>{tmp_path}/apt')
    done = dev("--install-as-root", "python3-yaml", env=first_on_path(fakes))
    assert done.returncode == 0, done.stderr
    called = (tmp_path / "apt").read_text().split()
    assert called[-2:] == ["install", "python3-yaml"] and "--no-install-recommends" in called


def test_a_failed_installation_is_tried_with_fresh_lists_and_then_told(fakes: Path) -> None:
    script(fakes / "apt-get", "exit 100")
    done = dev("--install-as-root", "python3-yaml", env=first_on_path(fakes))
    assert done.returncode == 2 and "retrying with fresh package lists" in done.stderr


def not_root() -> list[str]:
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def test_it_finds_a_fitting_python_behind_another(fakes: Path, tmp_path: Path) -> None:
    script(fakes / "python3", "exit 1")
    state = {"STELE_STATE": str(tmp_path), **first_on_path(fakes)}
    done = dev("db", "url", env=state)
    assert done.returncode == 1 and "./dev db start" in done.stderr
    chosen = dev("db", "url", env={**state, "STELE_PYTHON": sys.executable})
    assert chosen.returncode == 1 and "./dev db start" in chosen.stderr


@pytest.fixture(scope="module")
def clone() -> Iterator[Path]:
    """A copy of the tree that belongs to an ordinary user."""
    with open_folder() as parent:
        folder = parent / "a clone"
        for name in project.tracked():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project.TOP / name, folder / name, follow_symlinks=False)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", folder], check=True)
        yield folder


def as_user(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {"STELE_BUILD": "", "STELE_STATE": "", "STELE_DSN": "", "HOME": str(clone)}
    return dev(*arguments, env=clean, program=clone / "dev", prefix=not_root())


def test_an_ordinary_user_builds(clone: Path) -> None:
    done = as_user(clone, "build")
    assert done.returncode == 0, done.stderr
    assert (clone / "build/plain/runtime/libstele.so").exists()


def test_an_ordinary_user_keeps_a_server(clone: Path) -> None:
    started = as_user(clone, "db", "start")
    assert started.returncode == 0, started.stderr
    url = started.stdout.strip()
    try:
        answer = as_user(clone, "db", "psql", "-XAtc", "SELECT current_user")
        assert answer.stdout == "stele\n", answer.stderr
        assert as_user(clone, "db", "url").stdout.strip() == url
    finally:
        assert as_user(clone, "db", "stop").returncode == 0
    assert not Path(url.partition("host=")[2]).exists()


def test_formatting_is_checked_and_mended(clone: Path) -> None:
    programs = clone / "build/venv/bin"  # what ./dev test fetched; nothing is fetched here
    programs.mkdir(parents=True)
    (programs.parent / "tried").touch()
    if ruff := project.ruff():
        shutil.copy(ruff, programs)
    assert as_user(clone, "format").returncode == 0
    assert as_user(clone, "format", "--check").returncode == 0
    odd = {
        "odd.c": ("int  f( void ){return 1;}\n", "int f(void)\n{\n    return 1;\n}\n"),
        "odd.py": ("x = {  'a' : 1 }\n", "x = {'a': 1}\n"),
    }
    for name, (text, mended) in odd.items():
        if name == "odd.py" and not ruff:
            continue
        (clone / name).write_text(text)
        (clone / name).chmod(0o666)
        found = as_user(clone, "format", "--check")
        assert found.returncode == 1 and name in found.stdout + found.stderr
        assert (clone / name).read_text() == text
        assert as_user(clone, "format").returncode == 0
        assert (clone / name).read_text() == mended
