"""Files become nodes: places, styles, and what is refused on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import stele.load
import yaml
from stele.diag import Diagnostics
from stele.frontend import read_schema, schema_files
from stele.load import load_text
from stele.nodes import Mapping, Node, Scalar, Sequence, Style
from stele.sqltext import SqlProblem, conjuncts, not_null_columns, tokens, uses_word

LOADERS = [yaml.SafeLoader] + ([yaml.CSafeLoader] if hasattr(yaml, "CSafeLoader") else [])


def load(text: str) -> Mapping:
    diags = Diagnostics()
    mapping = load_text("f.yaml", text, diags)
    assert mapping is not None and not diags.items, diags.items
    return mapping


def refusals(text: str) -> list[str]:
    diags = Diagnostics()
    load_text("f.yaml", text, diags)
    return [f"{item.line}:{item.column} {item.code}" for item in diags.sorted()]


def value(mapping: Node, key: str) -> Node:
    assert isinstance(mapping, Mapping)
    return next(entry.value for entry in mapping.entries if entry.key.text == key)


def test_every_scalar_is_text() -> None:
    words = ["no", "on", "1.0", "0x10", "null", "~", "2000-01-01", "1_000", ".inf"]
    for word in words:
        found = value(load(f"a: {word}\n"), "a")
        assert isinstance(found, Scalar) and found.text == word


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("a: b", Style.PLAIN),
        ("a: 'b'", Style.SINGLE),
        ('a: "b"', Style.DOUBLE),
        ("a: |\n  b", Style.BLOCK),
        ("a: >-\n  b", Style.BLOCK),
    ],
)
def test_styles(text: str, style: Style) -> None:
    found = value(load(text), "a")
    assert isinstance(found, Scalar) and (found.text.strip(), found.style) == ("b", style)


@pytest.mark.parametrize("break_", ["\n", "\r\n", "\r"])
def test_places_whatever_ends_a_line(break_: str) -> None:
    text = break_.join(["# ä€😀", "a:", '  "ä€😀": {b: [x, 😀, y]}', ""])
    found = value(value(load(text), "a"), "ä€😀")
    list_ = value(found, "b")
    assert isinstance(list_, Sequence)
    assert [(item.span.line, item.span.column) for item in list_.items] == [
        (3, 15),
        (3, 18),
        (3, 21),
    ]


def test_a_byte_order_mark_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_bytes(b"\xef\xbb\xbfmodule: a\n")
    diags = Diagnostics()
    assert read_schema([Path("a.yaml")], diags) and not diags.items


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: {b: f(1,2)}", ["1:8 S012"]),
        ("a: {b: f(1,2,3), c: d}", ["1:8 S012"]),
        ("a: {b: x, y}", ["1:8 S012"]),
        ("a: [f(1, 2), c]", ["1:5 S012"]),
        ("a: [f(1, 2]", ["1:5 S012"]),
        ('a: {b: "f(1,2)"}', []),
        ('a: ["f(1, 2)", c]', []),
        ("a: {b: f(1)}", []),
        ("a: f(1,2)", []),
        ("a: &x b\nc: *x", ["1:4 S005", "2:4 S005"]),
        ("a: !x b", ["1:4 S006"]),
        ("<<: {a: b}", ["1:1 S007"]),
        ('"<<": b', []),
        ("a: b\na: c\na: d", ["2:1 S008", "3:1 S008"]),
        ("{a: b}: c", ["1:1 S011"]),
        ("a: b\n...\n---\nc: d", ["3:1 S009"]),
    ],
)
def test_refusals(text: str, expected: list[str]) -> None:
    assert refusals(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a: b # c", True), ("a: b#c", False), ("a: b", False), ("a: 'b' # c", False)],
)
def test_comments_behind_plain_values_are_noticed(text: str, expected: bool) -> None:
    found = value(load(text), "a")
    assert isinstance(found, Scalar) and found.commented is expected


@pytest.mark.parametrize("loader", LOADERS)
def test_both_parsers_read_alike(loader: object, monkeypatch: pytest.MonkeyPatch) -> None:
    top = Path(__file__).resolve().parents[2]
    text = (top / "schema/sessions.yaml").read_text().replace("jsonb?, ", '"jsonb?", ')
    expected = load(text)
    monkeypatch.setattr(stele.load, "_LOADER", loader)
    assert flat(load(text)) == flat(expected)


def flat(node: Node) -> list[Scalar]:
    if isinstance(node, Scalar):
        return [node]
    if isinstance(node, Mapping):
        return [item for entry in node.entries for item in flat(entry.key) + flat(entry.value)]
    return [item for child in getattr(node, "items", ()) for item in flat(child)]


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    diags = Diagnostics()
    assert read_schema([Path("empty"), Path("none.yaml")], diags) is None
    assert [(item.path, item.code) for item in diags.sorted()] == [
        ("empty", "S001"),
        ("none.yaml", "S001"),
    ]


def test_a_folder_stands_for_its_schema_files(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yaml", "c.txt"):
        (tmp_path / name).write_text("module: x\n")
    diags = Diagnostics()
    paths = [tmp_path / "b.yaml", tmp_path, tmp_path / "." / "a.yaml"]
    assert schema_files(paths, diags) == [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    assert not diags.items


def test_sql_tokens() -> None:
    sql = """E'a\\'b' || 'c''d' || $x$ ' $x$ || "e""f" || g[1] -> 2.5e-3"""
    kinds = [token.kind for token in tokens(sql) if token.kind != "mark"]
    assert kinds == ["string", "string", "string", "quoted", "word", "number", "number"]
    assert tokens("a /* b /* c */ ; */ ; -- d\n;", statements=True)[-1].text == ";"


@pytest.mark.parametrize("sql", ["(", ")", "(]", "'a", '"a', "$$a", "a;b", "a--b", "a/*b*/"])
def test_sql_that_is_broken(sql: str) -> None:
    with pytest.raises(SqlProblem):
        tokens(sql)


def test_sql_conditions() -> None:
    assert not_null_columns('a IS NOT NULL AND (b is not null) AND "C" IS NOT NULL') == {
        *("a", "b", "C")
    }
    assert not_null_columns("a IS NOT NULL OR b") == set()
    assert not_null_columns("'a IS NOT NULL'") == set()
    assert len(conjuncts("a BETWEEN 1 AND 2 AND b")) == 2
    assert uses_word("a AND live", "live") and uses_word("NOT Live", "live")
    assert not any(uses_word(sql, "live") for sql in ("'live'", '"live"', "t.live", "live()", "l"))
