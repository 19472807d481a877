"""What must agree: lists and the files they name, versions, licence, documents and commands.

When this fails: the message names both sides; make the one that is wrong agree.
"""

from __future__ import annotations

import re
import subprocess

import project
import pytest


def first(pattern: str, name: str) -> str:
    match = re.search(pattern, project.read(name), re.MULTILINE)
    assert match, f"{name} lacks {pattern}"
    return match[1]


def test_one_version_everywhere() -> None:
    version = first(r"^  version: '([^']+)',", "meson.build")
    header = "runtime/include/stele/version.h"
    assert first(r'#define STELE_VERSION "([^"]+)"', header) == version
    names = ("MAJOR", "MINOR", "PATCH")
    assert ".".join(first(rf"#define STELE_VERSION_{n} (\d+)", header) for n in names) == version
    assert first(r'^__version__ = "([^"]+)"', "codegen/stele/__init__.py") == version
    assert re.search(rf"^## {re.escape(version)}\b", project.read("CHANGELOG.md"), re.MULTILINE)


def test_the_licence_is_mit() -> None:
    text = project.read("LICENSE")
    assert text.startswith("MIT License\n") and "The Stele authors" in text
    assert first(r"^  license: '([^']+)',", "meson.build") == "MIT"


@pytest.mark.parametrize(
    ("folder", "variable", "pattern"),
    [
        ("runtime", "sources", r"runtime/src/.*\.c"),
        ("runtime", "headers", r"runtime/include/stele/[^/]*\.h"),
        ("runtime", "gen_headers", r"runtime/include/stele/gen/.*\.h"),
        ("codegen", "package_files", r"codegen/stele/[^/]*\.(py|typed)"),
        ("codegen", "template_files", r"codegen/stele/templates/.*\.j2"),
    ],
)
def test_meson_names_every_file(folder: str, variable: str, pattern: str) -> None:
    listed = project.meson_list(f"{folder}/meson.build", variable)
    assert sorted(f"{folder}/{name}" for name in listed) == project.files(pattern)


DOCUMENTS = [*project.files(r"[A-Z]+\.md"), *project.files(r"(docs|examples)/.*\.md")]


def test_meson_names_every_c_test() -> None:
    """A test that no list names is never run, and nobody misses it."""
    files = sorted((project.TOP / "tests").rglob("meson.build"))
    lists = "\n".join(path.read_text() for path in files)
    tests = {path.name.removesuffix(".c") for path in (project.TOP / "tests").rglob("*_test.c")}
    unnamed = {
        name
        for name in tests
        if not re.search(rf"'{name}(\.c)?'|'{name.removesuffix('_test')}'", lists)
    }
    assert not unnamed


def test_the_documents_are_there() -> None:
    expected = {"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"}
    assert expected <= set(DOCUMENTS)


def dev_help(*command: str) -> str:
    done = subprocess.run(
        [project.TOP / "dev", *command, "--help"], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_every_command_in_the_documents_exists() -> None:
    """`./dev COMMAND --option`: the command has help, and its help knows the option."""
    used = {
        (match[1], option)
        for name in DOCUMENTS
        for match in re.finditer(r"\./dev ([a-z]+)((?:[ \t]+[^\s`|&;)]+)*)", project.read(name))
        for option in ["", *re.findall(r"--[a-z-]+", match[2])]
    }
    assert ("test", "") in used and ("demo", "") in used
    for command, option in sorted(used):
        if command != "stele":
            text = dev_help(command)
            assert text.startswith(f"usage: ./dev {command}")
            assert option in text, f"./dev {command} does not know {option}"


def test_every_command_of_the_generator_in_the_documents_exists() -> None:
    help_text = subprocess.run(
        [project.TOP / "dev", "stele", "--help"], capture_output=True, text=True, check=True
    ).stdout
    used = {
        word
        for name in DOCUMENTS
        for word in re.findall(r"(?:`|^|\./dev )stele ([a-z]+)", project.read(name), re.MULTILINE)
    }
    assert "generate" in used
    assert not [word for word in used if not re.search(rf"^    {word}\b", help_text, re.MULTILINE)]


def test_every_suite_is_described() -> None:
    listed = subprocess.run(
        [project.TOP / "dev", "test", "--list"], capture_output=True, text=True, check=True
    ).stdout.split()
    described = re.findall(r"^\| ([a-z]+) \| ", project.read("CONTRIBUTING.md"), re.MULTILINE)
    assert sorted(listed) == sorted(set(described) - {"suite", "to"})


def test_an_unknown_command_is_refused() -> None:
    done = subprocess.run([project.TOP / "dev", "tset"], capture_output=True, text=True)
    assert done.returncode == 2 and "unknown command: tset" in done.stderr


def test_links_in_the_documents_lead_somewhere() -> None:
    broken = []
    for name in DOCUMENTS:
        folder = (project.TOP / name).parent
        for target in re.findall(r"\]\(([^)#\s]+)", project.read(name)):
            if "://" not in target and not (folder / target).exists():
                broken.append(f"{name}: {target}")
    assert not broken


def test_continuous_integration_runs_what_the_readme_says() -> None:
    assert "./dev test" in project.read(".ci/run")
    assert "./dev test" in project.read("README.md")


def test_the_committed_generated_files_are_fresh() -> None:
    """Byte for byte what the generator writes; otherwise: ./dev stele generate, as it says."""
    command = ["stele", "check", "--sql", "--generated", "generated", "schema"]
    done = subprocess.run(
        [project.TOP / "dev", *command], cwd=project.TOP, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}(in this tree: ./dev stele ...)"


def test_meson_names_every_module() -> None:
    names = first(r"^modules = \[\n([^\]]*)^\]", "generated/meson.build")
    listed = re.findall(r"'(\w+)'", names)
    assert [f"schema/{name}.yaml" for name in listed] == project.files(r"schema/[^/]*\.yaml")
