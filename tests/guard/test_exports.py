"""What the library shows to the linker, and what it asks of the C library.

When this fails: a function of the public headers is missing or hidden, one is exported that no
header declares, or code in the library ends the process, prints or reads the environment.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import csource
import project
import pytest

HEADERS = project.files(r"runtime/include/.*\.h")
NEVER = {
    *("exit", "_exit", "_Exit", "quick_exit", "abort", "atexit"),
    *("printf", "vprintf", "puts", "putchar", "perror", "__printf_chk"),
    *("getenv", "secure_getenv", "setenv", "system", "popen", "signal"),
    *("strcpy", "strcat", "sprintf", "strtok", "setlocale", "localtime", "gmtime", "rand"),
}


def preprocessed(header: str) -> str:
    """A header as the compiler sees it."""
    done = subprocess.run(
        ["gcc", "-std=c11", "-E", "-P", f"-I{project.TOP}/runtime/include", project.TOP / header],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def declared() -> set[str]:
    """Names that the public headers mark with STELE_API."""
    names = set()
    for header in HEADERS:
        text = preprocessed(header)
        for match in re.finditer(r'__attribute__\(\(visibility\("default"\)\)\)([^;{]*);', text):
            declaration = re.sub(r"__attribute__\s*\(\(.*?\)\)\s", " ", match[1])
            name = re.search(r"(\w+)\s*(\(|\[|$)", declaration.strip())
            assert name, declaration
            names.add(name[1])
    return names


def nm(*arguments: str | Path) -> list[tuple[str, str]]:
    """Type and name of each symbol, versions cut off."""
    done = subprocess.run(["nm", *arguments], capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines() if line]
    return [(row[-2], row[-1].split("@")[0]) for row in rows if len(row) > 1]


@pytest.fixture(scope="module")
def shared(build: Path) -> Path:
    return build / "runtime/libstele.so"


def test_exports_are_what_the_headers_declare(shared: Path) -> None:
    exported = {name for kind, name in nm("-D", "--defined-only", shared) if kind != "A"}
    promised = declared()
    assert len(promised) > 10
    assert not promised - exported, "declared, but not in the library"
    assert not exported - promised, "exported, but not declared with STELE_API"
    assert all(re.fullmatch(r"stele_[a-z]\w*", name) for name in exported)


def test_the_library_neither_ends_nor_talks_nor_looks_around(build: Path) -> None:
    used = {name for kind, name in nm(build / "runtime/libstele.a") if kind == "U"}
    assert "stele_version" not in used and used
    assert not used & NEVER


def test_the_library_has_its_name(shared: Path) -> None:
    done = subprocess.run(["readelf", "-d", shared], capture_output=True, text=True, check=True)
    assert "[libstele.so.0]" in done.stdout


@pytest.mark.parametrize("header", HEADERS)
def test_public_functions_are_documented(header: str) -> None:
    """Each STELE_API stands in a paragraph that begins with a comment, or beside one."""
    wrong = []
    text = project.read(header)
    lines, bare = text.split("\n"), csource.without_comments(text)
    for match in re.finditer(r"^STELE_API\b[^;]*;[^\n]*", bare, re.MULTILINE):
        line = bare.count("\n", 0, match.start())
        last = line + match[0].count("\n")
        top = line
        while top > 0 and lines[top - 1].strip() and not lines[top - 1].startswith("#"):
            top -= 1
        if "*/" not in "\n".join(lines[top : last + 1]):
            wrong.append(f"{header}:{line + 1}: {match[0].split(chr(10))[0]}")
    assert not wrong, "\n".join(wrong)
