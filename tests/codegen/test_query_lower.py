"""What queries become: descriptors, types and functions, in one module and across modules."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from stele.diag import Diagnostics
from stele.frontend import read_schema
from stele.lower import lower
from stele.lower_query import QueryStmt, lower_queries
from stele.model import Schema
from stele.render import render

TOP = Path(__file__).resolve().parents[2]

PEOPLE = """
module: people
c_prefix: p_
enums:
  kind: [child, adult]
tables:
  people:
    columns:
      id: bigserial
      kind: kind
      words: opaque(tsvector)?
      expires_at: timestamp?
      deleted_at: timestamptz?
    primary_key: id
    ttl: expires_at
    soft_delete: deleted_at
    indexes:
      expires: [expires_at]
"""

PETS = """
module: pets
tables:
  pets:
    columns:
      id: bigserial
      owner_id: int8
    primary_key: id
"""


def schema_of(folder: Path, people: str = "", pets: str = "") -> Schema:
    (folder / "people.yaml").write_text(PEOPLE)
    (folder / "pets.yaml").write_text(PETS)
    (folder / "people.sql").write_text(people)
    (folder / "pets.sql").write_text(pets)
    diags = Diagnostics()
    schema = read_schema([folder], diags)
    assert schema is not None, "\n".join(map(str, diags.sorted()))
    return schema


def stmt_of(folder: Path, sql: str) -> QueryStmt:
    schema = schema_of(folder, sql)
    (stmt,) = lower_queries(schema.modules[0], schema).stmts
    return stmt


def text_of(stmt: QueryStmt) -> str:
    return "".join(part.text or f"<{part.macro}>" for part in stmt.parts)


def compiles(files: dict[str, str], folder: Path) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)
    warnings = "-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Werror".split()
    include = f"-I{TOP}/runtime/include"
    for name in files:
        if name.endswith(".c"):
            command = ["gcc", "-std=c11", "-fsyntax-only", *warnings, include, name]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr


def test_policies_come_from_the_table(tmp_path: Path) -> None:
    stmt = stmt_of(
        tmp_path,
        "-- name: q :many\n-- return id: people.id\n"
        "SELECT a.id FROM {people a}, {pets.pets b} WHERE {live a} AND {not_deleted a} AND {live b}"
        " AND a.expires_at > {now a.expires_at} AND a.deleted_at < {now}",
    )
    live = "(a.expires_at IS NULL OR a.expires_at > (statement_timestamp() AT TIME ZONE 'UTC'))"
    assert text_of(stmt) == (
        f"SELECT a.id FROM people AS a, pets.pets AS b WHERE (a.deleted_at IS NULL AND {live})"
        " AND a.deleted_at IS NULL AND true"
        " AND a.expires_at > (statement_timestamp() AT TIME ZONE 'UTC')"
        " AND a.deleted_at < statement_timestamp()"
    )


def test_whole_rows_name_every_column(tmp_path: Path) -> None:
    stmt = stmt_of(
        tmp_path, "-- name: q :many\n-- return A: people.*\nSELECT {a.*} FROM {people A}"
    )
    columns = "A.id, A.kind, A.words::text AS words, A.expires_at, A.deleted_at"
    assert text_of(stmt) == f"SELECT {columns} FROM people AS A"


def test_bits_of_flags_and_choices(tmp_path: Path) -> None:
    stmt = stmt_of(
        tmp_path,
        "-- name: q :exec\nDELETE FROM {people a} WHERE true"
        " /*?if one*/ AND false /*?end*/ /*?if two*/ AND true /*?end*/"
        " /*?by three a*/ AND 1=1 /*?or b: AND 2=2*/ /*?or c: AND 3=3*/ /*?end*/"
        " /*?by four a*/ /*?or b: AND 4=4*/ /*?end*/",
    )
    assert stmt.switches == (("one", 2, 0), ("two", 2, 1), ("three", 3, 2), ("four", 2, 4))
    steers = [(p.macro, *p.numbers) for p in stmt.parts if p.macro.startswith("IF_")]
    assert steers == [
        *(("IF_FLAG", 1), ("IF_FLAG", 2)),
        *(("IF_CHOICE", 12, 0), ("IF_CHOICE", 12, 4), ("IF_CHOICE", 12, 8), ("IF_CHOICE", 16, 16)),
    ]


def test_groups_are_shared(tmp_path: Path) -> None:
    stmt = stmt_of(
        tmp_path,
        "-- name: q :exec\n-- param a, b, c: int8\nDELETE FROM {people p} WHERE true"
        " /*?if a, b*/ AND :a > :b /*?end*/ /*?if b, a*/ AND :a = :b /*?end*/"
        " /*?if c*/ AND :c = 1 /*?end*/",
    )
    assert stmt.groups == ((0, 1),)
    steers = [(p.macro, *p.numbers) for p in stmt.parts if p.macro.startswith("IF_")]
    assert steers == [("IF_ALL", 0), ("IF_ALL", 0), ("IF_SET", 2)]


def test_other_modules_rows_and_enums(tmp_path: Path) -> None:
    schema = schema_of(
        tmp_path,
        pets="-- name: owners :many\n-- return p: people.people.*\n"
        "SELECT {p.*} FROM {people.people p};\n"
        "-- name: kinds :many\n-- param kind: people.kind\n-- return k: people.people.kind\n"
        "-- return pet: pets.*\n"
        "SELECT o.kind, {x.*} FROM {pets x} JOIN {people.people o} ON o.id = x.owner_id\n"
        "WHERE o.kind = :kind;\n".replace("pet:", "x:"),
    )
    files = render(lower(schema))
    header = files["pets.gen.h"]
    assert '#include "people.gen.h"' in header
    assert "    const p_people_row *rows;" in header
    assert "    p_kind k;\n    pets_row x;" in header
    assert "people_rows" not in files["people.gen.h"]
    assert 'STELE_TABLE("people.people")' in files["pets.gen.c"]
    compiles(files, tmp_path)


def test_every_kind_compiles(tmp_path: Path) -> None:
    row = (
        "-- param id: people.id\n-- return p: people.*\n"
        "SELECT {p.*} FROM {people p} WHERE p.id = :id;\n"
    )
    text = "".join(f"-- name: k_{kind} :{kind}\n{row}" for kind in ("one", "maybe", "many", "iter"))
    for kind in ("exec", "execrows"):
        text += f"-- name: k_{kind} :{kind}\nDELETE FROM {{people}};\n"
    text += "-- name: flagged :execrows\nDELETE FROM {people p} /*?if all*/ WHERE true /*?end*/;"
    files = render(lower(schema_of(tmp_path, text)))
    for name in ("k_one", "k_maybe", "k_many", "k_iter", "k_exec", "k_execrows", "flagged"):
        assert f"p_people_{name}(" in files["people.gen.h"]
    assert "p_people_k_iter_iter_next(" in files["people.gen.h"]
    compiles(files, tmp_path)


def test_long_statements_are_no_long_literals(tmp_path: Path) -> None:
    """C promises literals of 4,095 bytes."""
    terms = " OR ".join(f"a.id = {i} /* ünïcödé ❦ */" for i in range(600))
    sql = f"-- name: q :many\n-- return id: people.id\nSELECT a.id FROM {{people a}} WHERE {terms}"
    stmt = stmt_of(tmp_path, sql)
    assert terms.removesuffix(" /* ünïcödé ❦ */") in text_of(stmt)
    assert max(len((part.text or "").encode()) for part in stmt.parts) <= 4000
    compiles(render(lower(schema_of(tmp_path, sql))), tmp_path)


@pytest.mark.parametrize("word", ["errno", "class", "register", "NULL", "template", "int8_t"])
def test_members_that_c_keeps(tmp_path: Path, word: str) -> None:
    files = render(
        lower(
            schema_of(
                tmp_path,
                f"-- name: q :one\n-- param {word}: int8\n-- return {word}: int8\n"
                f"SELECT :{word} /*?by {word}_ {word}*/ /*?or {word}x: + 1*/ /*?end*/".replace(
                    f"{word}_ ", "sort "
                ),
            )
        )
    )
    assert re.search(rf"\b{word}_;", files["people.gen.h"])
    compiles(files, tmp_path)


def test_queries_of_one_module_leave_others_alone(tmp_path: Path) -> None:
    before = render(lower(schema_of(tmp_path)))
    after = render(
        lower(schema_of(tmp_path, pets="-- name: clear :exec\nDELETE FROM {people.people};"))
    )
    assert before["people.gen.h"] == after["people.gen.h"]
    assert before["people.gen.c"] == after["people.gen.c"]
    assert before["pets.gen.c"] != after["pets.gen.c"]
