"""Every broken schema fails with exactly its expected output, and every code has such a schema."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from stele.diag import Diagnostic, Diagnostics
from stele.frontend import read_schema

TOP = Path(__file__).resolve().parents[2]
ERRORS = TOP / "tests/golden/errors"
CASES = sorted(path.name for path in ERRORS.iterdir())
LINE = re.compile(
    r"[^\s:]+:[1-9]\d*:[1-9]\d*: (?:error\[S\d{3}\]|warning\[W\d{3}\]): \S.*; \S.*[^.]"
)


def report(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Diagnostic], bool]:
    """What reading a folder says, with places as seen from inside, and whether it gave a schema."""
    monkeypatch.chdir(folder)
    diags = Diagnostics()
    schema = read_schema([Path(".")], diags)
    assert (schema is None) == diags.failed
    return diags.sorted(), schema is not None


@cache
def codes_in_source() -> set[str]:
    files = sorted((TOP / "codegen/stele").glob("*.py"))
    front = [path for path in files if not path.name.startswith("lower")]
    text = "".join(path.read_text() for path in front)
    return set(re.findall(r'"([SW]\d{3})"', text))


def codes_in_goldens() -> set[str]:
    text = "".join((ERRORS / case / "stderr.txt").read_text() for case in CASES)
    return set(re.findall(r"(?:error|warning)\[(\w+)\]", text))


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found, read = report(ERRORS / case, monkeypatch)
    text = "".join(f"{item}\n" for item in found)
    assert text == (ERRORS / case / "stderr.txt").read_text()
    assert read == case.startswith("warn_")


def test_there_are_enough_cases() -> None:
    assert sum(not case.startswith("warn_") for case in CASES) >= 40


def test_every_code_has_a_golden() -> None:
    assert codes_in_source() == codes_in_goldens()
    assert len(codes_in_source()) > 60


def test_the_documentation_lists_every_code_once() -> None:
    text = (TOP / "docs/reference/diagnostics.md").read_text()
    headings = re.findall(r"^### ([SW]\d{3})\b", text, re.MULTILINE)
    assert sorted(headings) == sorted(codes_in_source())


def test_every_code_is_explained_with_example_and_remedy() -> None:
    text = (TOP / "docs/reference/diagnostics.md").read_text()
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        code = section[:4]
        assert "```yaml" in section or "```text" in section, f"{code} has no example"
        assert "Remedy:" in section, f"{code} has no remedy"


@pytest.mark.parametrize("case", CASES)
def test_every_line_says_where_what_and_what_to_do(case: str) -> None:
    for line in (ERRORS / case / "stderr.txt").read_text().splitlines():
        assert LINE.fullmatch(line), line


def test_problems_are_sorted_by_place_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = report(ERRORS / "several_problems", monkeypatch)
    places = [(item.path, item.line, item.column) for item in found]
    assert places == sorted(places)
    assert len(set(found)) == len(found) > 8
    assert {item.path for item in found} == {"people.yaml", "schema.yaml"}


def test_the_order_of_files_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ERRORS / "several_problems")
    reports = []
    for names in (["people.yaml", "schema.yaml"], ["schema.yaml", "people.yaml", "./people.yaml"]):
        diags = Diagnostics()
        assert read_schema([Path(name) for name in names], diags) is None
        reports.append(diags.sorted())
    assert reports[0] == reports[1]


def test_the_example_of_the_design(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text("module: a\ntables:\n  t:\n    columns:\n      n: int9\n")
    found, _ = report(tmp_path, monkeypatch)
    assert [str(item) for item in found] == [
        'a.yaml:5:10: error[S017]: unknown type "int9"; did you mean "int8"?'
    ]
