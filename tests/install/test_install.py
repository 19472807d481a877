"""The installed tree, and the examples built on it as users would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import project
import pytest
from database import Database

VERSION = project.meson_version()
EXAMPLES = project.TOP / "examples"


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Runs a command that must succeed; its output."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def configure(source: Path, build: Path, *options: str | Path) -> None:
    run("meson", "setup", build, source, f"-Dpython={sys.executable}", *options)
    run("ninja", "-C", build)


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stele, installed into a prefix of its own."""
    folder = tmp_path_factory.mktemp("install")
    configure(project.TOP, folder / "build", f"--prefix={folder}/usr", "--libdir=lib")
    run("meson", "install", "-C", folder / "build", "--no-rebuild")
    return folder / "usr"


@pytest.fixture
def env(prefix: Path, database: Database) -> dict[str, str]:
    """How a user finds what is installed, and the server."""
    return {
        "PATH": f"{prefix}/bin:{os.environ['PATH']}",
        "PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig",
        "LD_LIBRARY_PATH": f"{prefix}/lib",
        "STELE_DSN": database.url,
    }


def shown(name: str, kind: str) -> list[str]:
    """The fenced blocks of a kind in a document."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", project.read(name), re.DOTALL | re.MULTILINE)


@pytest.fixture
def example(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the example that the test is about, outside the tree."""
    name = request.node.name.removeprefix("test_").split("_")[0]
    return Path(shutil.copytree(EXAMPLES / name, tmp_path / name))


def test_what_is_installed(prefix: Path) -> None:
    expected = [
        *(name.removeprefix("runtime/") for name in project.files(r"runtime/include/.*\.h")),
        *("lib/libstele.a", "lib/libstele.so", "lib/libstele.so.0", f"lib/libstele.so.{VERSION}"),
        *(
            "lib/pkgconfig/stele.pc",
            "bin/stele",
            "share/doc/stele/LICENSE",
            "share/doc/stele/docs/reference/sessions.md",
        ),
        *(
            f"share/stele/python/{name.removeprefix('codegen/')}"
            for name in project.files(r"codegen/stele/.*\.(py|typed|j2)")
        ),
    ]
    assert not [name for name in expected if not (prefix / name).exists()]
    assert (prefix / "lib/libstele.so").resolve().name == f"libstele.so.{VERSION}"


def test_pkg_config_tells_what_is_needed(prefix: Path) -> None:
    env = {"PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig"}
    assert run("pkg-config", "--modversion", "stele", env=env).strip() == VERSION
    assert run("pkg-config", "--libs", "stele", env=env).split() == [f"-L{prefix}/lib", "-lstele"]
    assert "-lpq" in run("pkg-config", "--libs", "--static", "stele", env=env).split()


def version_of(command: Path) -> str:
    """What the command says where no other Python and no other package is to be found."""
    return run(command, "--version", env={"PATH": "/nonexistent", "PYTHONPATH": ""}).strip()


def test_the_command_works_where_it_was_installed_and_where_it_was_moved(
    prefix: Path, tmp_path: Path
) -> None:
    assert version_of(prefix / "bin/stele") == f"stele {VERSION}"
    moved = Path(shutil.copytree(prefix, tmp_path / "moved here", symlinks=True))
    assert version_of(moved / "bin/stele") == f"stele {VERSION}"
    link = tmp_path / "stele"
    link.symlink_to(moved / "bin/stele")
    assert version_of(link) == f"stele {VERSION}"


def test_the_command_works_under_destdir(build: Path, tmp_path: Path) -> None:
    run("meson", "install", "-C", build, "--no-rebuild", "--destdir", tmp_path)
    commands = list(tmp_path.glob("**/bin/stele"))
    assert len(commands) == 1
    assert version_of(commands[0]) == f"stele {VERSION}"


def test_the_committed_files_build_without_the_generator(tmp_path: Path) -> None:
    """For adopters without Jinja2 and PyYAML: -Dgenerator=disabled compiles generated/."""
    options = ["-Dgenerator=disabled", "-Dpython=/nonexistent", "-Doptimization=0"]
    run("meson", "setup", tmp_path, project.TOP, *options)
    run("ninja", "-C", tmp_path)
    symbols = run("nm", tmp_path / "generated/libgenerated.a")
    assert re.search(r" [DR] \w+_module$", symbols, re.MULTILINE)
    assert not (tmp_path / "codegen/stele").exists()


def test_make(example: Path, env: dict[str, str]) -> None:
    run("make", cwd=example, env=env)
    assert run("./tasks", cwd=example, env=env) == shown("examples/make/README.md", "text")[0]
    assert "is up to date" in run("make", cwd=example, env=env)
    schema = example / "schema/tasks.yaml"
    schema.write_text(schema.read_text().replace("title: text", "title: varchar(200)"))
    assert "generate" in run("make", cwd=example, env=env)


def test_make_links_the_static_library(example: Path, prefix: Path, env: dict[str, str]) -> None:
    others = run("pkg-config", "--libs", "libpq", "jansson", env=env)
    run("make", f"LDLIBS=-L{prefix}/lib -l:libstele.a {others} -lm -pthread", cwd=example, env=env)
    output = run("./tasks", cwd=example, env={**env, "LD_LIBRARY_PATH": ""})
    assert output == shown("examples/make/README.md", "text")[0]
    assert "libstele" not in run("ldd", "tasks", cwd=example)


def test_meson_on_the_installed_library(example: Path, env: dict[str, str]) -> None:
    run("meson", "setup", "build", cwd=example, env=env)
    run("meson", "compile", "-C", "build", cwd=example, env=env)
    output = run("build/notes", cwd=example, env=env)
    assert output == shown("examples/meson/README.md", "text")[0]


def test_meson_with_stele_as_a_subproject(example: Path, database: Database) -> None:
    tree = example / "subprojects/stele"
    for name in project.tracked():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project.TOP / name, tree / name, follow_symlinks=False)
    options = ["--force-fallback-for=stele", f"-Dstele:python={sys.executable}"]
    run("meson", "setup", "build", *options, cwd=example)
    run("ninja", "-C", "build", cwd=example)
    output = run("build/notes", cwd=example, env={"STELE_DSN": database.url})
    assert output == shown("examples/meson/README.md", "text")[0]
    run("touch", "schema/notes.yaml", cwd=example)
    assert "Generating" in run("ninja", "-C", "build", cwd=example)
    assert "no work to do" in run("ninja", "-C", "build", cwd=example)


def test_cmake(example: Path, prefix: Path, env: dict[str, str]) -> None:
    run("cmake", "-B", "build", f"-DCMAKE_PREFIX_PATH={prefix}", cwd=example, env=env)
    run("cmake", "--build", "build", cwd=example, env=env)
    output = run("build/stock", cwd=example, env=env)
    assert output == shown("examples/cmake/README.md", "text")[0]


def test_the_readme_shows_what_is_tested() -> None:
    """Its schema and C stand in examples/make; its output is the beginning of that one's."""
    (schema,), (program,), (output,) = (shown("README.md", kind) for kind in ("yaml", "c", "text"))
    assert schema in project.read("examples/make/schema/tasks.yaml")
    assert program in project.read("examples/make/main.c")
    assert shown("examples/make/README.md", "text")[0].startswith(output)
