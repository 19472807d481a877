"""Every public header compiles alone, as C11 and as C++17, with both compilers and no warning."""

from __future__ import annotations

import subprocess
from pathlib import Path

import project
import pytest

INCLUDE = project.TOP / "runtime/include"
HEADERS = [
    name.removeprefix("runtime/include/") for name in project.files(r"runtime/include/.*\.h")
]
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
LANGUAGES = {
    "c11": ["-x", "c", "-std=c11", "-Wstrict-prototypes"],
    "c++17": ["-x", "c++", "-std=c++17"],
}


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("header", HEADERS)
def test_it_compiles_alone(compiler: str, language: str, header: str, tmp_path: Path) -> None:
    source = tmp_path / "alone.c"
    source.write_text(f"#include <{header}>\n#include <{header}>\nint main(void);\n")
    done = subprocess.run(
        [compiler, *LANGUAGES[language], *WARNINGS, "-fsyntax-only", f"-I{INCLUDE}", source],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_umbrella_has_every_public_header_but_json() -> None:
    umbrella = project.read("runtime/include/stele.h")
    missing = [
        header
        for header in HEADERS
        if header not in ("stele.h", "stele/json.h")
        and not header.startswith("stele/gen/")
        and f'#include "{header}"' not in umbrella
    ]
    assert not missing
