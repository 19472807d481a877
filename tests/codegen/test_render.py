"""What is true of all generated text: layout, templates, independence of the machine."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import jinja2
import pytest
from stele.ddl_text import DdlOptions, ddl_text
from stele.diag import Diagnostics
from stele.frontend import read_schema
from stele.layout import doc_comment, fields, literal_lines, prototype
from stele.lower import lower
from stele.model import Schema
from stele.render import TEMPLATES, environment, render

TOP = Path(__file__).resolve().parents[2]
SCHEMAS = [TOP / "schema/sessions.yaml", TOP / "tests/schemas/shop.yaml"]


def read(*paths: Path) -> Schema:
    diags = Diagnostics()
    schema = read_schema(paths, diags)
    assert schema is not None, "\n".join(map(str, diags.sorted()))
    return schema


def clang_format(text: str, name: str) -> str:
    done = subprocess.run(
        ["clang-format", f"--style=file:{TOP}/.clang-format", f"--assume-filename={name}"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("path", SCHEMAS, ids=["sessions", "shop"])
def test_clang_format_changes_nothing(path: Path) -> None:
    for name, text in render(lower(read(path))).items():
        assert clang_format(text, name) == text


def named(table: str, column: str, key: str) -> str:
    """A schema in which these names stand wherever names do."""
    return f"""
module: long_names
longest: {{schema: 0, prefix: 0}}
enums:
  {table[:20]}_kind: [one, two, three, four, five, six]
tables:
  {table}:
    doc: {"A table with a description that does not fit a line of its heading comment. " * 2}
    columns:
      id: bigserial
      {column}: varchar(10)
      {column}_2: text?
      {column}_3: {{type: "{table[:20]}_kind", doc: "{"What it is about, at length. " * 5}"}}
      touched: {{type: timestamptz, default: CURRENT_TIMESTAMP}}
      gone: timestamptz?
      over: timestamp?
      version: {{type: int4, default: "1"}}
    primary_key: id
    touch: touched
    soft_delete: gone
    ttl: over
    version: version
    indexes:
      over: {{columns: [over], where: "over IS NOT NULL"}}
      l: [{column}, {column}_2, touched]
    unique:
      {key}: {{columns: [{column}, {column}_3], where: not_deleted}}
    list:
      {key}_l: {{by: [{column}, {column}_3], order: [touched desc]}}
"""


@pytest.mark.parametrize("length", range(1, 42, 3))
def test_clang_format_changes_nothing_whatever_the_length_of_names(
    length: int, tmp_path: Path
) -> None:
    table = ("t" + "_table" * 10)[:length]
    path = tmp_path / "long_names.yaml"
    column = ("c" + "olumn_" * 10)[: length + 2] + "x"
    path.write_text(named(table, column, ("k" + "ey" * 10)[: min(length, 18)]))
    for name, text in render(lower(read(path))).items():
        assert clang_format(text, name) == text


def test_prototypes_break_where_clang_format_breaks_them() -> None:
    chance = random.Random(7)
    types = ["STELE_MUST_CHECK stele_status", "stele_status", "static inline void", "const char *"]
    texts = []
    for _ in range(300):
        word = "n" * chance.randint(4, 75)
        lists = [
            ["stele_conn *conn", "int64_t id", f"{word[:40]}_row **ret_row", "stele_error *err"],
            [f"{word[:40]}_row **row"],
            ["stele_conn *conn", f"const {word[:50]}_filter *filter", "int64_t *ret_count"],
            ["stele_conn *conn", f"const {word[:45]}_key *key", "uint32_t limit", "bool *ret_it"],
        ]
        name = word + "z" * chance.randint(0, 25)
        texts.append(prototype(chance.choice(types), name, chance.choice(lists), ";"))
    text = "\n\n".join(texts) + "\n"
    assert clang_format(text, "x.h") == text


def test_layout_helpers() -> None:
    assert doc_comment("Ends */ early.") == "/** Ends * / early. */"
    aligned = fields([("", "int a;", "one"), ("", "int bc;", "two"), ("", "int d;", "")])
    assert aligned == "    int a;  /* one */\n    int bc; /* two */\n    int d;"
    assert literal_lines('a "b"\nc', 90, 1) == ['"a \\"b\\"\\n"', '"c"']
    assert all(len(one) <= 40 for one in literal_lines("word " * 40, 40, 2))


def test_templates_are_strict_and_short() -> None:
    with pytest.raises(jinja2.UndefinedError):
        environment().from_string("{{ nothing }}").render()
    for path in TEMPLATES.glob("**/*.j2"):
        assert len(path.read_text().splitlines()) <= 150, path


GENERATE = """
import sys
from pathlib import Path
from stele.cli import main
raise SystemExit(main(["generate", "--sql", "--out", sys.argv[1], *sys.argv[2:]]))
"""


def generate(out: Path, paths: list[str], cwd: Path, seed: str) -> dict[str, bytes]:
    env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(TOP / "codegen"), "TZ": seed}
    subprocess.run([sys.executable, "-c", GENERATE, out, *paths], cwd=cwd, env=env, check=True)
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_same_input_same_bytes(tmp_path: Path) -> None:
    """Whatever the hash seed, the order and spelling of the inputs, and the working folder."""
    paths = [str(path) for path in SCHEMAS]
    one = generate(tmp_path / "one", paths, tmp_path, "1")
    two = generate(tmp_path / "two", paths[::-1], TOP, "2")
    relative = [os.path.relpath(path, TOP / "docs") for path in paths]
    three = generate(tmp_path / "three", relative, TOP / "docs", "3")
    assert one == two == three
    assert len(one) == 6


def many(count: int, folder: Path) -> Path:
    """A schema of `count` tables."""
    tables = "".join(
        f"""
  t{i}:
    columns:
      id: bigserial
      name: text
      at: {{type: timestamptz, default: CURRENT_TIMESTAMP}}
    primary_key: id
    unique:
      name: [name]
"""
        for i in range(count)
    )
    path = folder / f"many{count}.yaml"
    path.write_text(f"module: many{count}\nc_prefix: m{count}_\ntables:{tables}")
    return path


def test_a_thousand_tables_take_four_times_as_long_as_a_quarter_of_them(tmp_path: Path) -> None:
    def seconds(path: Path) -> float:
        start = time.process_time()
        schema = read(path)
        files = render(lower(schema))
        ddl_text(schema.modules[0], DdlOptions())
        assert len(files) == 2
        return time.process_time() - start

    few, thousand = many(250, tmp_path), many(1000, tmp_path)
    seconds(many(5, tmp_path))  # what is loaded and compiled once
    # Four times over, where twice the tables for each table would be sixteen; a busy machine is not
    # busy five times just when the thousand are rendered.
    assert any(seconds(thousand) < seconds(few) * 4 * 1.8 for _ in range(5))
