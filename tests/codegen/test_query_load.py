"""Query files: where queries begin and end, what their headers say, and what stands where."""

from __future__ import annotations

from pathlib import Path

import pytest
from stele.cli import main
from stele.diag import Diagnostics
from stele.frontend import read_schema
from stele.model import (
    Choice,
    Condition,
    ParamRef,
    Query,
    QueryKind,
    QueryNode,
    Scalar,
    Schema,
    SqlText,
)
from stele.query_load import RawQuery, load_text
from stele.query_result import reads_only, result
from stele.query_scan import Kind, scan

SCHEMA = """
module: shop
enums:
  status: [open, paid]
tables:
  orders:
    columns:
      id: bigserial
      name: text
      state: status
      tags: text[]
      made_at: timestamp
      deleted_at: timestamptz?
    primary_key: id
    soft_delete: deleted_at
"""


def load(text: str) -> tuple[list[RawQuery], list[str]]:
    diags = Diagnostics()
    raws = load_text("q.sql", text, diags)
    return raws, [str(item) for item in diags.sorted()]


def read(folder: Path, sql: str, schema: str = SCHEMA) -> tuple[Schema | None, list[str]]:
    (folder / "shop.yaml").write_text(schema)
    (folder / "shop.sql").write_text(sql)
    diags = Diagnostics()
    found = read_schema([folder / "shop.yaml"], diags)
    return found, [str(item).removeprefix(f"{folder}/") for item in diags.sorted()]


def query(folder: Path, sql: str) -> Query:
    schema, problems = read(folder, sql)
    assert schema is not None, problems
    (only,) = schema.modules[0].queries
    return only


def text_of(nodes: tuple[QueryNode, ...]) -> str:
    """The body with clauses in brackets, branches apart, and parameters by number."""
    out = []
    for node in nodes:
        match node:
            case SqlText():
                out.append(node.text)
            case ParamRef():
                out.append(f"<{node.param}>")
            case Condition():
                out.append(f"[{text_of(node.body)}]")
            case Choice():
                out.append("[" + "|".join(text_of(body) for body in node.bodies) + "]")
            case _:
                out.append("{}")
    return "".join(out)


# ---- scanning ----


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT :a, :b_1", [":a", ":b_1"]),
        ("x::int8, :a::int8::text", [":a"]),
        ("a[1:2], a[i:j], a[(i):j], a[:a:2], a[f(x)[1]:j]", [":a"]),
        ("'k':v, \"k\":v, 1:v, :a :v", [":a"]),
        ("E'it\\'s :no', ':no', 'it''s :no' || :a", [":a"]),
        ("U&'\\0041 :no' x'0':no", []),
        ("$$ :no $$, $q$ :no $$ :no $q$, :a", [":a"]),
        ("a$b$:no, :a", [":a"]),
        ("-- :no\n:a /* :no /* :no */ :no */", [":a"]),
        ("a ?| :a AND a ? :b AND a #>> '{x:y}' AND a @? '$.x ? (@ > :no)'", [":a", ":b"]),
        ("f(x := :a, y => :b)", [":a", ":b"]),
        ("(:a), [:b], ,:c, =:d, <:e", [":a", ":b", ":c", ":d", ":e"]),
        (":::a : : b :1", []),
        ("é:no, :é", [":é"]),
    ],
)
def test_parameters(sql: str, names: list[str]) -> None:
    tokens = list(scan(sql))
    assert [token.text for token in tokens if token.kind is Kind.PARAM] == names
    assert "".join(token.text for token in tokens) == sql


def test_kinds() -> None:
    sql = "a \"b\" 1.5e-3 .5 1..2 {x y} /*?if z*/ $1 --c\r\n ;"
    kinds = [(token.kind.name, token.text) for token in scan(sql) if token.kind is not Kind.SPACE]
    assert kinds == [
        ("WORD", "a"),
        ("QUOTED", '"b"'),
        ("NUMBER", "1.5e-3"),
        ("NUMBER", ".5"),
        ("NUMBER", "1"),
        ("MARK", "."),
        ("NUMBER", ".2"),
        ("BRACE", "{x y}"),
        ("DIRECTIVE", "/*?if z*/"),
        ("POSITIONAL", "$1"),
        ("LINE_COMMENT", "--c"),
        ("MARK", ";"),
    ]


# ---- headers ----


def test_where_queries_begin_and_end() -> None:
    raws, problems = load(
        "-- a file's own comment\n\n"
        "-- name: one :one\n-- Doc of\n--   two lines.\nSELECT 1; -- behind\n\n"
        "/* -- name: not :one */\n"
        "  --name:two :exec\r\n-- plan: custom\r\nDO $$ BEGIN\r\n-- name: no :one\nEND $$\n"
        "SELECT 'x -- name: no' -- name: no :one\n;"
    )
    assert problems == []
    assert [(raw.name, raw.kind, raw.custom_plan) for raw in raws] == [
        ("one", QueryKind.ONE, False),
        ("two", QueryKind.EXEC, True),
    ]
    assert raws[0].doc == ["Doc of", "two lines."]
    assert "".join(token.text for token in raws[0].body) == "SELECT 1"
    assert "".join(token.text for token in raws[1].body).endswith("END $$\nSELECT 'x -- name: no'")


def test_places_of_declarations() -> None:
    raws, problems = load(
        "-- name: q :many\n-- param a,  b : numeric(12,2) , t.c?\n-- return x: t.*\nSELECT 1"
    )
    assert problems == []
    (raw,) = raws
    declared = [(one.name, one.span.line, one.span.column, one.type) for one in raw.params]
    assert declared == [("a", 2, 10, "numeric(12,2)"), ("b", 2, 14, "t.c?")]
    assert [(one.type_span.line, one.type_span.column) for one in raw.params] == [(2, 18), (2, 34)]
    assert [(one.name, one.type) for one in raw.returns] == [("x", "t.*")]


def test_lines_count_as_editors_count_them() -> None:
    _, problems = load("-- name: a :exec\r\nSELECT 'ö', '\r\n', 'x\n")
    assert problems == ["q.sql:3:4: error[S072]: a string is never closed; close it"]


def test_a_file_that_cannot_be_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SCHEMA)
    for data, message in (
        (b"-- name: a :exec\n\xff", "2:1: error[S004]: byte 0xff is not UTF-8"),
        (b"-- \0", "1:4: error[S004]: character U+0000 may not stand in a query file"),
    ):
        (tmp_path / "shop.sql").write_bytes(data)
        diags = Diagnostics()
        assert read_schema([tmp_path], diags) is None
        assert message in str(diags.sorted()[0])


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    text = "\ufeff-- name: a :exec\nDELETE FROM {orders}"
    assert query(tmp_path, text).name == "a"


# ---- bodies ----


def test_the_example_of_the_design(tmp_path: Path) -> None:
    made = query(
        tmp_path,
        "-- name: search :many\n-- param name: orders.name\n-- param since, until: orders.made_at\n"
        "-- param limit: int8\n-- return s: orders.*\n"
        "SELECT {s.*} FROM {orders s}\nWHERE s.name = :name AND {live s}\n"
        "  /*?if since, until*/ AND s.made_at >= :since AND s.made_at < :until /*?end*/\n"
        "ORDER BY /*?by sort newest*/ s.made_at DESC, s.id DESC\n"
        "         /*?or oldest: s.made_at, s.id*/ /*?end*/\nLIMIT :limit\n",
    )
    assert text_of(made.body) == (
        "SELECT {} FROM {} AS s\nWHERE s.name = <0> AND {}"
        "[\n  AND s.made_at >= <1> AND s.made_at < <2>]\n"
        "ORDER BY [s.made_at DESC, s.id DESC|s.made_at, s.id]\nLIMIT <3>"
    )
    assert [param.optional for param in made.params] == [False, True, True, False]
    assert [choice.labels for choice in made.choices] == [("newest", "oldest")]
    assert made.reads and not made.custom_plan


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("SELECT 1/*?if a*/+1/*?end*/FROM x", "SELECT 1[ +1] FROM x"),
        ("SELECT (1 /*?if a*/ + 1 /*?end*/)", "SELECT (1[ + 1])"),
        ("SELECT 1 -- c\n/*?if a*/ + 1 -- d\n/*?end*/", "SELECT 1 -- c\n[+ 1 -- d\n]"),
        ("SELECT/*?by s x*/1/*?or y:2*//*?end*/", "SELECT[ 1| 2]"),
        ("SELECT (1 /*?by s x*/ /*?or y: + 2 */ /*?end*/)", "SELECT (1 [|+ 2])"),
        ("SELECT 1\n/*?if a*/ + 1\n /*?end*/\n+ 2", "SELECT 1[\n+ 1]\n+ 2"),
    ],
)
def test_clauses_keep_words_apart(tmp_path: Path, body: str, wanted: str) -> None:
    made = query(tmp_path, f"-- name: q :one\n-- return n: int4\n{body}")
    assert text_of(made.body) == wanted


def test_types_and_nullability(tmp_path: Path) -> None:
    made = query(
        tmp_path,
        "-- name: q :one\n"
        "-- param a, b, c, d: orders.state, orders.id[], status[]?, shop.orders.name\n"
        "-- return e, f, g, h: orders.deleted_at, orders.deleted_at!, orders.name?, text\n"
        "SELECT :a, :b, :c, :d",
    )
    kinds = [(one.type.scalar, one.type.array, one.nullable) for one in made.params]
    assert kinds == [
        (Scalar.ENUM, False, False),
        (Scalar.INT8, True, False),
        (Scalar.ENUM, True, True),
        (Scalar.TEXT, False, False),
    ]
    assert [one.nullable for one in made.returns] == [True, False, True, False]


def test_a_row_out_of_a_with_query(tmp_path: Path) -> None:
    made = query(
        tmp_path,
        "-- name: q :many\n-- return r: orders.*\n"
        "WITH r AS (SELECT {o.*} FROM {orders o}) SELECT {r.*} FROM r",
    )
    assert text_of(made.body) == "WITH r AS (SELECT {} FROM {} AS o) SELECT {} FROM r"


def test_one_mistake_is_one_message(tmp_path: Path) -> None:
    """Nothing is said of a table that could not be read, and the next query is read as well."""
    broken = SCHEMA.replace("      name: text\n", "      name: texd\n      1x: int4\n")
    _, problems = read(
        tmp_path,
        "-- name: a :many\n-- param n: orders.name\n-- return o: orders.*\n"
        "SELECT {o.*} FROM {orders o} WHERE o.name = :n AND o.x = 1;\n"
        "-- name: b :exec\nDELETE FROM {order};",
        broken,
    )
    assert [problem.split(":")[0] for problem in problems] == ["shop.sql", "shop.yaml", "shop.yaml"]
    assert 'shop.sql:6:13: error[S027]: unknown table "order"; did you mean "orders"?' in problems


# ---- what the text tells ----


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        ("SELECT a, f(b, c), (SELECT d, e) FROM t", 3),
        ("SELECT DISTINCT ON (a, b) a, b FROM t", 2),
        ("SELECT ALL a", 1),
        ("SELECT a IS DISTINCT FROM b, c FROM t", 2),
        ("SELECT a.from, b AS limit, EXTRACT(day FROM c) FROM t", 3),
        ("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a), b FROM t", 2),
        ("WITH x (a, b) AS MATERIALIZED (SELECT 1, 2), y AS (SELECT 3) SELECT a FROM x, y", 1),
        ("WITH x AS (DELETE FROM t RETURNING a, b) INSERT INTO u SELECT * FROM x RETURNING c", 1),
        ("UPDATE t SET a = 1, b = 2", 0),
        ("MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE", 0),
        ("SELECT", 0),
        ("VALUES (1, 2)", None),
        ("(SELECT 1) UNION (SELECT 2)", None),
        ("SHOW server_version", None),
    ],
)
def test_the_number_of_columns(sql: str, count: int | None) -> None:
    found = result(list(scan(sql)))
    assert (None if found is None else len(found.items)) == count


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT count(*), max(a) FROM t WHERE b IN (1) AND EXISTS (SELECT 1)", True),
        ("WITH RECURSIVE x (a) AS (SELECT 1) SELECT a FROM x", True),
        ("WITH x AS (SELECT 1), y (b) AS (SELECT 2) SELECT a FROM x", True),
        ("SELECT v.a FROM (VALUES (1)) AS v (a)", True),
        ("SELECT 'DELETE', \"update\", s.update FROM t", True),
        ("SELECT nextval('x')", False),
        ("SELECT my_function(1)", False),
        ("SELECT s.now()", False),
        ('SELECT "max"(1)', False),
        ("SELECT a FROM t FOR UPDATE", False),
        ("WITH x AS (DELETE FROM t RETURNING a) SELECT a FROM x", False),
        ("SELECT a INTO b FROM t", False),
        ("EXPLAIN ANALYZE DELETE FROM t", False),
        ("INSERT INTO t DEFAULT VALUES", False),
    ],
)
def test_what_surely_writes_nothing(sql: str, reads: bool) -> None:
    assert reads_only(list(scan(sql))) == reads


# ---- files ----


def test_ddl_of_ours_is_no_query_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shop.yaml").write_text(SCHEMA)
    arguments = ["generate", "--sql", "--out", str(tmp_path), str(tmp_path / "shop.yaml")]
    assert main(arguments) == 0
    assert main(arguments) == 0, capsys.readouterr().err


def test_queries_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "-- name: clear :exec\nDELETE FROM {orders};\n"
    (tmp_path / "shop.yaml").write_text(SCHEMA)
    (tmp_path / "shop.sql").write_text(sql)
    assert main(["generate", "--sql", "--out", str(tmp_path), str(tmp_path)]) == 1
    assert "holds the queries of the module" in capsys.readouterr().err
    assert (tmp_path / "shop.sql").read_text() == sql


def test_a_query_file_is_an_input_of_the_build(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SCHEMA)
    (tmp_path / "shop.sql").write_text("-- name: clear :exec\nDELETE FROM {orders};\n")
    depfile = tmp_path / "out/shop.d"
    out = str(tmp_path / "out")
    assert main(["generate", "--out", out, "--depfile", str(depfile), f"{tmp_path}/shop.yaml"]) == 0
    assert f" {tmp_path}/shop.sql" in depfile.read_text()
    assert "shop_clear(" in (tmp_path / "out/shop.gen.h").read_text()
    assert main(["check", "--generated", out, str(tmp_path)]) == 0
    (tmp_path / "shop.sql").write_text("-- name: empty :exec\nDELETE FROM {orders};\n")
    assert main(["check", "--generated", out, str(tmp_path)]) == 1


def test_a_query_file_is_named_with_its_schema(tmp_path: Path) -> None:
    (tmp_path / "shop.sql").write_text("-- name: clear :exec\nDELETE FROM {orders};\n")
    diags = Diagnostics()
    assert read_schema([tmp_path / "shop.sql"], diags) is None
    assert "a query file is read with its schema file" in str(diags.sorted()[0])
