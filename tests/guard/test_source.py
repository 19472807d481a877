"""How the sources are written.

When this fails: split a file or function by purpose; take the other function that a comment in
banned.h names; say what a file is for instead of noting what is left to do.
"""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import csource
import project

LONGEST_FILE = 600
LONGEST_FUNCTION = 60  # these are the first lengths that are too long
EXCEPTIONS = tomllib.loads(project.read("tests/guard/exceptions.toml"))
OURS_IN_C = [f for f in project.files(r".*\.[ch]") if not f.startswith("generated/")]


def compare(found: dict[str, int], allowed: dict[str, int], limit: int) -> list[str]:
    """Where lengths and their exceptions disagree."""
    wrong = []
    for name, lines in found.items():
        if lines >= max(limit, allowed.get(name, 0) + 1):
            wrong.append(f"{name} has {lines} lines")
    for name, lines in allowed.items():
        if found.get(name, 0) < lines:
            wrong.append(f"{name}: lower or remove its entry ({lines}) in exceptions.toml")
    return wrong


def test_files_are_short() -> None:
    found = {
        name: project.read(name).count("\n")
        for name in project.files(r".*\.([ch]|py|j2)")
        if not name.startswith(("generated/", "tests/golden/"))
    }
    assert not compare(found, EXCEPTIONS["files"], LONGEST_FILE)


def test_functions_are_short() -> None:
    found = {
        f"{name}:{function.name}": function.lines
        for name in OURS_IN_C
        for function in csource.functions(project.read(name))
    }
    assert found
    assert not compare(found, EXCEPTIONS["functions"], LONGEST_FUNCTION)


def test_functions_are_found() -> None:
    text = 'static int f(int a,\n             int b)\n{\n    if (*"}" == b) {\n    }\n}\n\nint g;\n'
    assert list(csource.functions(text)) == [csource.Function("f", 3, 4)]


def test_the_list_of_banned_names_comes_last_everywhere() -> None:
    wrong = []
    for name in project.files(r"(runtime|stores)/.*\.c"):
        names = [include.name for include in csource.includes(project.read(name))]
        if not names or names[-1] != "banned.h":
            wrong.append(name)
    assert not wrong, f"the last include must be banned.h: {wrong}"


def test_no_unbounded_string_functions_outside_the_library_either() -> None:
    banned = re.compile(r"\b(v?sprintf|strcpy|strcat|strtok|gets|atoi|alloca)\s*\(")
    wrong = [
        f"{name}:{number}"
        for name in project.files(r".*\.[ch]")
        for number, line in enumerate(csource.code_only(project.read(name)).split("\n"), 1)
        if banned.search(line)
    ]
    assert not wrong


def text_files() -> list[str]:
    return [name for name in project.tracked() if not (project.TOP / name).is_symlink()]


# Spelled in pieces, so that this file does not find itself.
UNFINISHED = re.compile(
    rf"\b({'TO' 'DO'}|{'FIX' 'ME'}|{'X' 'XX'}|{'HA' 'CK'}|{'not' ' implemented'})\b"
)
MACHINE = re.compile(rf"{'/wo' 'rk'}/|{'/ho' 'me'}/\w|{'/ro' 'ot'}/\w|{'/Us' 'ers'}/")


def test_nothing_is_unfinished_by_its_own_words() -> None:
    assert not lines_with(UNFINISHED)


def test_no_paths_of_one_machine() -> None:
    assert not lines_with(MACHINE)


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for name in text_files():
        text = (project.TOP / name).read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.split("\n"), 1):
            if pattern.search(line):
                found.append(f"{name}:{number}: {line.strip()}")
    return found


def test_lines_end_plainly() -> None:
    wrong = []
    kinds = r"(.*\.([ch]|py|j2|md|toml|yaml|sql|build|sh)|dev|meson_options\.txt)"
    for name in project.files(kinds):
        data = (project.TOP / name).read_bytes()
        if name.startswith(("tests/golden/", "tests/fuzz/")):
            continue
        if b"\r" in data or b"\t" in data or b" \n" in data or not data.endswith(b"\n"):
            wrong.append(name)
    assert not wrong, f"tab, carriage return, trailing space or missing last newline: {wrong}"


def test_links_stay_inside() -> None:
    for name in project.tracked():
        path = project.TOP / name
        if path.is_symlink():
            target = Path(os.readlink(path))
            inside = (path.parent / target).resolve().is_relative_to(project.TOP)
            assert not target.is_absolute() and inside, name


def test_programs_can_be_run() -> None:
    for name in project.tracked():
        path = project.TOP / name
        if path.is_file() and not path.is_symlink():
            script = path.read_bytes()[:2] == b"#!"
            assert os.access(path, os.X_OK) == script, name


def test_shell_scripts_parse() -> None:
    for name in project.tracked():
        first_line = (project.TOP / name).read_bytes()[:64].split(b"\n")[0]
        if first_line.startswith(b"#!") and first_line.endswith((b"bash", b"/sh")):
            subprocess.run(["bash", "-n", project.TOP / name], check=True)
