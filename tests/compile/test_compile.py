"""Misuse of generated code does not compile, use of it does, and it compiles without a warning.

The compilers get no warning options where misuse is tried: the headers alone must stop it.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from stele.cli import main
from stele.names import C_PARAMETERS

TOP = Path(__file__).resolve().parents[2]
INCLUDE = TOP / "runtime/include"
C = {"gcc": ["gcc", "-std=c11"], "clang": ["clang", "-std=c11"]}
CXX = {
    "g++": ["g++", "-std=c++17"],
    "clang++": ["clang++", "-std=c++17", "-Wno-c++20-designator"],
}
LANGUAGES = {**C, **CXX}
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
SCHEMAS = ["schema/sessions.yaml", "tests/schemas/shop.yaml", "tests/golden/everything"]


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated code of all schemas."""
    folder = tmp_path_factory.mktemp("generated")
    assert main(["generate", "--out", str(folder), *(str(TOP / name) for name in SCHEMAS)]) == 0
    return folder


@dataclass(frozen=True)
class Case:
    """A mistake, and the same thing done right."""

    name: str
    wrong: str
    right: str


CASES = [
    Case(
        "the wrapper of another type",
        "shop_customers_input in = {.name = stele_i64_v(1)};",
        'shop_customers_input in = {.name = stele_text_v("x")};',
    ),
    Case(
        "the wrapper of another type, assigned",
        "shop_customers_input in = {0}; in.name = stele_i64_v(1);",
        'shop_customers_input in = {0}; in.name = stele_text_v("x");',
    ),
    Case(
        "a number by brace elision",
        "shop_orders_input in = {.customer_id = 1};",
        "shop_orders_input in = {.customer_id = stele_i64_v(1)};",
    ),
    Case(
        "a variable by brace elision",
        "int64_t id = 7; shop_orders_input in = {.customer_id = id};",
        "int64_t id = 7; shop_orders_input in = {.customer_id = stele_i64_v(id)};",
    ),
    Case(
        "a number by position",
        "shop_orders_input in = {1};",
        "shop_orders_input in = {stele_i64_v(1)};",
    ),
    Case(
        "a string",
        'shop_customers_input in = {.name = "x"};',
        'shop_customers_input in = {.name = stele_text_v("x")};',
    ),
    Case(
        "a text without its wrapper",
        'shop_customers_input in = {.name = stele_s("x")};',
        'shop_customers_input in = {.name = stele_text_of(stele_s("x"))};',
    ),
    Case(
        "true",
        "shop_customers_input in = {.vip = true};",
        "shop_customers_input in = {.vip = stele_bool_v(true)};",
    ),
    Case(
        "a floating-point number",
        "shop_products_input in = {.weight = 1.5};",
        "shop_products_input in = {.weight = stele_f64_n_v(1.5)};",
    ),
    Case(
        "NULL for a NOT NULL column",
        "shop_customers_input in = {.name = stele_text_n_null()};",
        "shop_customers_input in = {.phone = stele_text_n_null()};",
    ),
    Case(
        "a nullable value for a NOT NULL column",
        'shop_customers_input in = {.name = stele_text_n_v("x")};',
        'shop_customers_input in = {.phone = stele_text_n_v("x")};',
    ),
    Case(
        "NULL in a patch of a NOT NULL column",
        "shop_orders_patch patch = {.total = stele_text_n_null()};",
        "shop_orders_patch patch = {.note = stele_text_n_null()};",
    ),
    Case(
        "a bare timestamp",
        "shop_carts_input in = {.expires_at = 1234567890};",
        "shop_carts_input in = {.expires_at = stele_ts_n_v(1234567890)};",
    ),
    Case(
        "now for a column that is no timestamp",
        "shop_customers_input in = {.birthday = stele_ts_n_now()};",
        "shop_carts_input in = {.expires_at = stele_ts_n_now()};",
    ),
    Case(
        "a bare label",
        "shop_orders_input in = {.status = SHOP_ORDER_STATUS_PAID};",
        "shop_orders_input in = {.status = shop_order_status_v(SHOP_ORDER_STATUS_PAID)};",
    ),
    Case(
        "the label of another enum",
        "shop_orders_input in = {.status = shop_invoice_status_v(SHOP_INVOICE_STATUS_OPEN)};",
        "shop_orders_input in = {.status = shop_order_status_v(SHOP_ORDER_STATUS_OPEN)};",
    ),
    Case(
        "an input for a patch",
        "shop_orders_input in = {0};\n"
        "    if (shop_orders_update(conn, 1, &in, NULL, NULL) != STELE_OK) return;",
        "shop_orders_patch in = {0};\n"
        "    if (shop_orders_update(conn, 1, &in, NULL, NULL) != STELE_OK) return;",
    ),
    Case(
        "the key of another table",
        "shop_cart_items_key key = {{{0}}, {{0}}};\n"
        "    if (shop_stock_delete(conn, &key, NULL) != STELE_OK) return;",
        "shop_stock_key key = {{{0}}, 0};\n"
        "    if (shop_stock_delete(conn, &key, NULL) != STELE_OK) return;",
    ),
    Case(
        "a string for a number in a key",
        'if (shop_orders_delete(conn, "1", NULL) != STELE_OK) return;',
        "if (shop_orders_delete(conn, 1, NULL) != STELE_OK) return;",
    ),
    Case(
        "a row of another table",
        "shop_carts_row *row = NULL;\n"
        "    if (shop_orders_find(conn, 1, &row, NULL) != STELE_OK) return;",
        "shop_orders_row *row = NULL;\n"
        "    if (shop_orders_find(conn, 1, &row, NULL) != STELE_OK) return;",
    ),
]


def compiles(language: str, folder: Path, body: str, tmp_path: Path) -> tuple[bool, str]:
    source = tmp_path / ("try.cc" if language in CXX else "try.c")
    source.write_text(
        '#include "shop.gen.h"\n\nvoid attempt(stele_conn *conn);\n'
        f"void attempt(stele_conn *conn)\n{{\n    {body}\n    (void)conn;\n}}\n"
    )
    done = subprocess.run(
        [*LANGUAGES[language], "-fsyntax-only", f"-I{INCLUDE}", f"-I{folder}", source],
        capture_output=True,
        text=True,
    )
    return done.returncode == 0, done.stderr


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_misuse_does_not_compile(
    case: Case, language: str, generated: Path, tmp_path: Path
) -> None:
    fine, words = compiles(language, generated, case.right, tmp_path)
    assert fine, f"the control does not compile\n{words}"
    fine, words = compiles(language, generated, case.wrong, tmp_path)
    assert not fine, f"compiled:\n{case.wrong}"
    assert "try.c" in words and "error: " in words


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_literal_zero_compiles_and_means_unset(
    language: str, generated: Path, tmp_path: Path
) -> None:
    source = tmp_path / ("zero.cc" if language in CXX else "zero.c")
    source.write_text(
        '#include "shop.gen.h"\n\n'
        "int main(void)\n{\n"
        "    shop_orders_input in = {.customer_id = 0, .note = NULL};\n"
        "    return in.customer_id.tag == NULL && in.note.tag == NULL ? 0 : 1;\n"
        "}\n"
    )
    program = tmp_path / "zero"
    includes = [f"-I{INCLUDE}", f"-I{generated}"]
    command = [*LANGUAGES[language], *includes, str(source), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True)
    assert subprocess.run([program]).returncode == 0


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("header", ["sessions.gen.h", "shop.gen.h", "everything.gen.h"])
def test_a_generated_header_compiles_alone(
    header: str, language: str, generated: Path, tmp_path: Path
) -> None:
    source = tmp_path / ("alone.cc" if language in CXX else "alone.c")
    source.write_text(f'#include "{header}"\n#include "{header}"\n')
    done = subprocess.run(
        [*LANGUAGES[language], *STRICT, "-fsyntax-only", f"-I{INCLUDE}", f"-I{generated}", source],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("optimize", ["-O0", "-O2"])
@pytest.mark.parametrize("language", C)
@pytest.mark.parametrize("source", ["sessions.gen.c", "shop.gen.c", "everything.gen.c"])
def test_generated_code_compiles_without_a_warning(
    source: str, language: str, optimize: str, generated: Path, tmp_path: Path
) -> None:
    strict = [*STRICT, "-Wstrict-prototypes", "-Wmissing-prototypes", optimize]
    command = [*C[language], *strict, "-c", f"-I{INCLUDE}", str(generated / source)]
    command += ["-o", str(tmp_path / "generated.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_types_named_as_parameters_do_not_shadow(tmp_path: Path) -> None:
    words = sorted(C_PARAMETERS)
    enums = "".join(f"  {word}: {{labels: [first_of_{word}]}}\n" for word in words)
    columns = "".join(f"      a_{word}: {word}\n" for word in words)
    (tmp_path / "words.yaml").write_text(
        f"module: words\nenums:\n{enums}"
        f"tables:\n  things:\n    columns:\n      id: int8\n{columns}    primary_key: id\n"
    )
    assert main(["generate", "--out", str(tmp_path), str(tmp_path / "words.yaml")]) == 0
    compile_strictly(C["gcc"], tmp_path / "words.gen.c")


MEMBERS = """\
module: members
enums: {mood: [calm, wild], import: [a], module: [b]}
tables:
  people:
    columns:
      id: bigserial
      mood: mood
      name: text
      mood_opt: mood?
      was: mood
      mood_array: "mood[]"
      stele_str: text
      class: text
    primary_key: [mood, id]
    unique: {mood: [mood], both: [mood, name]}
"""
MEMBERS_QUERY = """\
-- name: found :many
-- param mood: mood
-- param mood_in: mood
-- return mood: mood
-- return was: people.was
-- return people_row: people.*
SELECT p.mood, p.was, {people_row.*}
FROM {people people_row} JOIN {people p} ON p.id = people_row.id
WHERE p.mood = :mood AND p.was = :mood_in
"""


@pytest.mark.parametrize("compiler", LANGUAGES)
def test_members_named_as_types_and_keywords(compiler: str, tmp_path: Path) -> None:
    (tmp_path / "members.yaml").write_text(MEMBERS)
    (tmp_path / "members.sql").write_text(MEMBERS_QUERY)
    assert main(["generate", "--out", str(tmp_path), str(tmp_path / "members.yaml")]) == 0
    source = tmp_path / "members.gen.c"
    if compiler in CXX:
        source = tmp_path / "members.cc"
        source.write_text('#include "members.gen.h"\n')
    compile_strictly(LANGUAGES[compiler], source)


@pytest.mark.parametrize("compiler", C)
def test_long_statements_are_short_literals(compiler: str, tmp_path: Path) -> None:
    """Compilers warn of literals of more than 4,095 bytes, as a list of many columns would be."""
    columns = "".join(f"      column_{'x' * 50}_{i}: text?\n" for i in range(90))
    (tmp_path / "wide.yaml").write_text(
        "module: wide\ntables:\n  wide:\n    columns:\n      id: bigserial\n"
        f"{columns}    primary_key: id\n"
    )
    assert main(["generate", "--out", str(tmp_path), str(tmp_path / "wide.yaml")]) == 0
    compile_strictly(C[compiler], tmp_path / "wide.gen.c")


def compile_strictly(compiler: list[str], source: Path) -> None:
    done = subprocess.run(
        [*compiler, *STRICT, "-fsyntax-only", f"-I{INCLUDE}", source],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_symbols_are_hidden_unless_public(tmp_path: Path) -> None:
    """In a shared library generated functions are its own business, unless --public says not."""
    ways: list[tuple[list[str], bool]] = [(["--public"], True), ([], False)]
    for how, visible in ways:
        folder = tmp_path / ("public" if visible else "hidden")
        main(["generate", *how, "--out", str(folder), str(TOP / "schema/sessions.yaml")])
        library = folder / "libx.so"
        subprocess.run(
            [
                *("gcc", "-shared", "-fPIC", f"-I{INCLUDE}", folder / "sessions.gen.c"),
                *("-o", library),
            ],
            check=True,
        )
        symbols = subprocess.run(
            ["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True
        ).stdout
        assert (" session_states_find\n" in symbols) is visible
        assert (" sessions_module\n" in symbols) is visible
