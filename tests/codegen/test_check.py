"""Where the line runs between a schema that is right and one that is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from stele.diag import Diagnostics
from stele.frontend import read_schema

TOP = Path(__file__).resolve().parents[2]


def codes(text: str, tmp_path: Path) -> list[str]:
    (tmp_path / "m.yaml").write_text(text)
    diags = Diagnostics()
    read_schema([tmp_path / "m.yaml"], diags)
    return [item.code for item in diags.sorted()]


def table(columns: str, *parts: str, head: str = "") -> str:
    lines = ["module: m", *head.splitlines(), "tables:", "  t:", f"    columns: {{{columns}}}"]
    return "\n".join([*lines, *(f"    {part}" for part in parts)]) + "\n"


def test_the_peers_limit_is_exact(tmp_path: Path) -> None:
    text = (TOP / "schema/sessions.yaml").read_text()
    assert codes(text, tmp_path) == []
    longer = text.replace("{schema: 15, prefix: 12}", "{schema: 16, prefix: 12}")
    assert codes(longer, tmp_path) == ["S055"]
    other = text.replace("{schema: 15, prefix: 12}", "{schema: 16, prefix: 11}")
    assert codes(other, tmp_path) == []


@pytest.mark.parametrize(("size", "expected"), [(63, []), (64, ["S055"])])
def test_sixty_three_bytes(size: int, expected: list[str], tmp_path: Path) -> None:
    assert codes(table(f"{'c' * size}: int4"), tmp_path) == expected


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["indexes: {e: [e]}"], []),
        (["indexes: {e: [e, id]}"], []),
        (["indexes: {e: [id, e]}"], ["S051"]),
        (['indexes: {e: {columns: [e], where: "e IS NOT NULL"}}'], []),
        (['indexes: {e: {columns: [e], where: "e IS NOT NULL AND id > 3"}}'], ["S051"]),
        (["indexes: {e: {columns: [e], method: brin}}"], ["S051"]),
        (["unique: {e: [e]}"], []),
    ],
)
def test_ttl_needs_an_index_it_can_use(
    parts: list[str], expected: list[str], tmp_path: Path
) -> None:
    text = table('id: int8, e: "timestamptz?"', "primary_key: id", "ttl: e", *parts)
    assert codes(text, tmp_path) == expected


@pytest.mark.parametrize(
    ("unique", "expected"),
    [
        ("[a]", ["S052"]),
        ("{columns: [a], where: not_deleted}", []),
        ('{columns: [a], where: "not_deleted AND a > 0"}', []),
        ('{columns: [a], where: "NOT_DELETED and (a > 0 OR a < 9)"}', []),
        ('{columns: [a], where: "a > 0"}', ["S052"]),
        ("{columns: [a], spans_deleted: true}", []),
        ('{columns: [a], where: "a > 0", spans_deleted: true}', []),
        ("{columns: [a], spans_deleted: false}", ["S052"]),
        ('{columns: [a], where: "(a"}', ["S015"]),
    ],
)
def test_uniques_of_soft_deleted_tables(unique: str, expected: list[str], tmp_path: Path) -> None:
    columns = 'id: int8, a: int4, d: "timestamptz?"'
    text = table(columns, "primary_key: id", "soft_delete: d", f"unique: {{a: {unique}}}")
    assert codes(text, tmp_path) == expected


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ("indexes: {i: [a]}", []),
        ("indexes: {i: [a, id]}", []),
        ("indexes: {i: [id, a]}", ["W101"]),
        ("unique: {i: [a]}", []),
        ('indexes: {i: {columns: [a], where: "a IS NOT NULL"}}', []),
        ('indexes: {i: {columns: [a], where: "id > 7"}}', ["W101"]),
        ("indexes: {i: {columns: [a], method: brin}}", ["W101"]),
    ],
)
def test_references_want_an_index(index: str, expected: list[str], tmp_path: Path) -> None:
    text = table('id: int8, a: {type: "int8?", references: t(id)}', "primary_key: id", index)
    assert codes(text, tmp_path) == expected


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (("int8", "bigserial"), []),
        (("varchar(9)", "text"), []),
        (("char(4)", "varchar"), []),
        (("int4", "int8"), ["S043"]),
        (("timestamp", "timestamptz"), ["S043"]),
        (("e", "e"), []),
        (("e", "f"), ["S043"]),
        (("opaque(macaddr)", "opaque(macaddr8)"), ["S043"]),
        (("nonsense", "int8"), ["S017"]),
    ],
)
def test_references_join_equal_types(
    types: tuple[str, str], expected: list[str], tmp_path: Path
) -> None:
    head = "enums: {e: [x], f: [y]}"
    columns = f"a: {types[0]}, b: {types[1]}"
    parts = ["primary_key: b", "unique: {a: [a]}", "foreign_keys:"]
    text = table(columns, *parts, "  k: {columns: [a], references: t(b)}", head=head)
    assert codes(text, tmp_path) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("t(a, b)", []),
        ("t(b, a)", []),
        ("t(c, d)", []),
        ("t(a, c)", ["S044"]),
        ("t(c, e)", ["S044"]),
    ],
)
def test_references_lead_to_keys(target: str, expected: list[str], tmp_path: Path) -> None:
    parts = ["primary_key: [a, b]", "unique:", "  one: [c, d]"]
    parts += ['  two: {columns: [c, e], where: "c > 0"}', "foreign_keys:"]
    text = table(
        "a: int4, b: int4, c: int4, d: int4, e: int4",
        *parts,
        f'  k: {{columns: [a, b], references: "{target}"}}',
    )
    assert codes(text, tmp_path) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{by: [a], order: [b]}", []),
        ("{order: [a]}", []),
        ("{by: [b], order: [a]}", ["W103"]),
        ('{by: [a], order: [n], where: "n IS NOT NULL"}', []),
        ('{by: [a], order: [n], where: "b > 0 AND (n IS NOT NULL)"}', []),
        ('{by: [a], order: [n], where: "b > 0 OR n IS NOT NULL"}', ["S048"]),
        ("{by: [a], order: [n]}", ["S048"]),
        ("{by: [a]}", []),
        ("{}", []),
    ],
)
def test_lists(spec: str, expected: list[str], tmp_path: Path) -> None:
    columns = 'id: int8, a: int4, b: int4, n: "int4?"'
    text = table(columns, "primary_key: id", "indexes: {a: [a, b]}", f"list: {{l: {spec}}}")
    assert codes(text, tmp_path) == expected


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("class: int4, default: text, new: text", []),
        ("select: int4, user: text, order: int4", []),
        ("new: int4, new_: int4", ["S058"]),
        ("price: int4, price_from: int4", ["S058"]),
        ("price: int4, price_before: text", ["S058"]),
        ("price: text, price_from: text", []),
        ("deleted: bool, expired: bool, if_version: int4", []),
        ("Name: text, name: text", []),
        ("ctid: int4", ["S063"]),
    ],
)
def test_column_names(columns: str, expected: list[str], tmp_path: Path) -> None:
    assert codes(table(columns), tmp_path) == expected


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ("{a: %s, a_find: %s}", []),
        ("{a: %s, b: %s}", []),
        ("{user: %s, user_row: %s}", []),
        ("{a: %s, a_pkey: %s}", ["S056"]),
        ("{a: %s, stele: %s}", []),
        ("{a: %s, stele_a: %s}", ["S063"]),
        ("{a: %s, A: %s}", []),
    ],
)
def test_table_names(tables: str, expected: list[str], tmp_path: Path) -> None:
    one = "{columns: {id: int8}, primary_key: id}"
    text = f"module: m\ntables: {tables % (one, one)}\n"
    assert codes(text, tmp_path) == expected


def test_keys_of_tables_that_share_a_prefix(tmp_path: Path) -> None:
    text = (
        "module: m\ntables:\n  a:\n    columns: {id: int8, x: int4, y: int4}\n    primary_key: id\n"
        "    unique:\n      b: [x, y]\n"
        "  a_b:\n    columns: {x: int4, y: int4}\n    primary_key: [x, y]\n"
    )
    assert codes(text.replace("a_b:", "a_c:"), tmp_path) == []
    # the type a_b_key, and the index a_b
    assert codes(text, tmp_path) == ["S056", "S057"]


def test_keys_that_sound_like_generated_names(tmp_path: Path) -> None:
    unique = "unique: {a: [a], %s: [b]}"
    text = table("id: int8, a: int4, b: int4", "primary_key: id", unique)
    assert codes(text % "b", tmp_path) == []
    assert codes(text % "a_stmt", tmp_path) == ["S057"]


def test_one_mistake_is_one_message(tmp_path: Path) -> None:
    parts = ["primary_key: a", "unique: {u: [a, b]}", "indexes: {i: [a]}", "list: {l: {by: [a]}}"]
    parts += ["touch: b", "foreign_keys: {f: {columns: [a], references: t(a)}}"]
    assert codes(table("a: int9, b: timestamptz", *parts), tmp_path) == ["S017"]
    # what a misspelt key held is unknown, and not reported as missing
    text = table("a: int8", "primary_key: a").replace("columns:", "colums:")
    assert codes(text, tmp_path) == ["S016"]
    unread = "module: m\ntables: {t: {use: [gone], columns: {a: int8}, primary_key: b}}\n"
    assert codes(unread, tmp_path) == ["S029"]


def test_a_file_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("module: [\n")
    (tmp_path / "good.yaml").write_text(
        table("id: int8, x: {type: int8, references: broken.t(id)}, y: int9", "primary_key: id")
    )
    diags = Diagnostics()
    assert read_schema([tmp_path], diags) is None
    errors = [item.code for item in diags.sorted() if item.severity == "error"]
    assert errors == ["S002", "S017"]
