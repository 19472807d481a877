"""The library of the stores: its headers, what it exports, how it is found when it is installed.

When this fails: a function of the public headers is missing or hidden, or one is exported that no
header declares; a header needs an include; or stores/meson.build installs too little.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import project
import pytest

HEADERS = project.files(r"stores/include/.*\.h")
INCLUDES = [f"-I{project.TOP}/runtime/include", f"-I{project.TOP}/stores/include"]
LANGUAGES = {
    "c11": ["-x", "c", "-std=c11", "-Wstrict-prototypes"],
    "c++17": ["-x", "c++", "-std=c++17"],
}
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
NEVER = {"exit", "_exit", "abort", "atexit", "printf", "puts", "perror", "getenv", "setenv"}


def run(*command: str | Path, **variables: str) -> str:
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("header", HEADERS)
def test_a_header_compiles_alone(compiler: str, language: str, header: str, tmp_path: Path) -> None:
    name = header.removeprefix("stores/include/")
    source = tmp_path / "alone.c"
    source.write_text(f"#include <{name}>\n#include <{name}>\nint main(void);\n")
    run(compiler, *LANGUAGES[language], *WARNINGS, "-fsyntax-only", *INCLUDES, source)


def declared() -> set[str]:
    """Names that the stores' headers mark with STELE_API, without those of the runtime."""
    names = set()
    for header in HEADERS:
        for match in re.finditer(r"^STELE_API\b([^;{]*);", project.read(header), re.MULTILINE):
            words = re.sub(r"STELE_\w+(\([^)]*\))?\s", " ", match[1])
            name = re.search(r"(\w+)\s*(\(|\[|$)", words.strip())
            assert name, match[0]
            names.add(name[1])
    return names


def test_exports_are_what_the_headers_declare(build: Path) -> None:
    lines = run("nm", "-D", "--defined-only", build / "stores/libstele-stores.so").splitlines()
    exported = {line.split()[-1].split("@")[0] for line in lines if " A " not in line}
    assert len(exported) > 30
    assert not declared() - exported, "declared, but not in the library"
    assert not exported - declared(), "exported, but not declared with STELE_API"


def test_the_library_neither_ends_nor_talks_nor_looks_around(build: Path) -> None:
    lines = run("nm", build / "stores/libstele-stores.a").splitlines()
    used = {line.split()[-1] for line in lines if " U " in line}
    assert used and not used & NEVER


def test_the_library_has_its_name(build: Path) -> None:
    shown = run("readelf", "-d", build / "stores/libstele-stores.so")
    assert "[libstele-stores.so.0]" in shown and "[libstele.so.0]" in shown


def test_it_is_found_when_installed(build: Path, tmp_path: Path) -> None:
    run("meson", "install", "-C", build, "--no-rebuild", "--quiet", DESTDIR=str(tmp_path))
    (package,) = tmp_path.rglob("pkgconfig/stele-stores.pc")
    # lib, lib64 or lib/x86_64-linux-gnu: as Meson finds the machine.
    prefix = next(path for path in package.parents if (path / "include").is_dir())
    for header in HEADERS:
        assert (prefix / header.removeprefix("stores/")).exists(), header
    found = {
        "PKG_CONFIG_PATH": str(package.parent),
        "PKG_CONFIG_SYSROOT_DIR": str(tmp_path),
    }
    libs = run("pkg-config", "--libs", "stele-stores", **found).split()
    assert "-lstele-stores" in libs and "-lstele" in libs
    program = tmp_path / "sessions"
    source = project.TOP / "examples/sessions/sessions.c"
    cflags = run("pkg-config", "--cflags", "stele-stores", **found).split()
    library = package.parent.parent
    run("gcc", "-std=c11", *cflags, source, *libs, f"-Wl,-rpath,{library}", "-o", program)
