"""`stele verify` on a real server: what it finds, what it says, what it leaves behind.

Each folder of tests/golden/verify/ holds a schema and, in stderr.txt, exactly what is said of it.
Refresh one with: cd tests/golden/verify/CASE && stele verify . 2>stderr.txt
"""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from database import Database
from stele.diag import Diagnostics
from stele.frontend import read_schema
from stele.verify import verify

TOP = Path(__file__).resolve().parents[2]
GOLDEN = TOP / "tests/golden/verify"
CASES = sorted(path.name for path in GOLDEN.iterdir())
SHOP = TOP / "tests/schemas"


def stele(
    *arguments: str | Path, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "stele", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(TOP / "codegen"), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def contents(database: Database) -> str:
    """All that a database holds which a run could leave there."""
    return database.psql(
        "SELECT 'schema', nspname FROM pg_namespace WHERE nspname !~ '^pg_(temp|toast_temp)_'"
        " UNION ALL SELECT 'relation', oid::text FROM pg_class"
        " UNION ALL SELECT 'type', oid::text FROM pg_type"
        " UNION ALL SELECT 'function', oid::text FROM pg_proc ORDER BY 1, 2"
    )


def findings(path: Path, database: Database) -> list[str]:
    diags = Diagnostics()
    schema = read_schema([path], diags)
    assert schema is not None, diags.sorted()
    verify(schema, database.url, diags)
    return [str(one) for one in diags.sorted()]


# ---- what is found ----


def test_our_own_schema_is_what_a_server_says_of_it(database: Database) -> None:
    before = contents(database)
    assert not findings(TOP / "schema", database)
    assert contents(database) == before


def test_a_schema_that_uses_the_whole_language(database: Database) -> None:
    found = findings(SHOP / "shop.yaml", database)
    assert all("warning[V008]" in one and "query" in one for one in found), found


def test_columns_named_as_what_the_generator_makes(database: Database, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        """\
module: own
tables:
  things:
    columns:
      id: bigserial
      count: text
      exists: "text[]"
      limit: "text[]"
      at: timestamptz
      gone: timestamptz?
      high: timestamptz?
      leader: int4
      claimed: bool
      age_ms: uuid?
    primary_key: id
    soft_delete: gone
    ttl: high
    indexes: {high: [high]}
"""
    )
    assert not findings(tmp_path, database)


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    if case == "joins":
        pytest.importorskip("pglast")
    monkeypatch.chdir(GOLDEN / case)
    found = "".join(f"{one}\n" for one in findings(Path("."), database))
    assert found == (GOLDEN / case / "stderr.txt").read_text()


def codes(text: str) -> set[str]:
    return set(re.findall(r"\b(V\d{3})\b", text))


def test_every_code_is_shown_and_described() -> None:
    source = codes("".join(path.read_text() for path in (TOP / "codegen/stele").glob("verify*.py")))
    shown = codes("".join((GOLDEN / case / "stderr.txt").read_text() for case in CASES))
    document = (TOP / "docs/reference/verify.md").read_text()
    assert source == shown
    assert sorted(source) == re.findall(r"^### (V\d{3}): ", document, re.MULTILINE)


def test_a_mistake_in_our_own_schema_is_found(database: Database, tmp_path: Path) -> None:
    for path in (TOP / "schema").iterdir():
        shutil.copy(path, tmp_path)
    text = (tmp_path / "sessions.yaml").read_text()
    right, wrong = "default: CURRENT_TIMESTAMP", "default: CURRENT_USER"
    assert right in text
    (tmp_path / "sessions.yaml").write_text(text.replace(right, wrong))
    found = findings(tmp_path, database)
    assert found and all("[V001]" in one and "sessions.yaml" in one for one in found)


# ---- the command ----


def test_the_command_counts_what_it_did(database: Database) -> None:
    before = contents(database)
    done = stele("verify", "--database", database.url, ".", cwd=GOLDEN / "names")
    assert done.returncode == 1
    assert done.stderr == (GOLDEN / "names/stderr.txt").read_text()
    assert re.fullmatch(r"\d{3,} statements prepared, 1 problem\n", done.stdout)
    done = stele("verify", "--database", database.url, ".", cwd=GOLDEN / "large")
    assert done.returncode == 0, "warnings alone are no fault"
    assert re.fullmatch(r"\d{3,} statements prepared, 0 problems, \d warnings\n", done.stdout)
    assert contents(database) == before


def test_the_command_as_json(database: Database) -> None:
    done = stele("verify", "--json", "--database", database.url, ".", cwd=GOLDEN / "names")
    result = json.loads(done.stdout)
    assert done.returncode == 1 and not result["ok"] and not done.stderr
    (finding,) = result["diagnostics"]
    assert (finding["path"], finding["line"], finding["code"]) == ("first.sql", 10, "V002")
    assert result["statements"] > 100 and re.match(r"\d+\.\d+", result["server"])


def test_the_command_tells_a_terminal_how_far_it_is(database: Database) -> None:
    main, other = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "stele", "verify", "--database", database.url, "."],
            cwd=GOLDEN / "names",
            env={**os.environ, "PYTHONPATH": str(TOP / "codegen"), "NO_COLOR": "1"},
            stdout=subprocess.DEVNULL,
            stderr=other,
        )
        said = os.read(main, 65536).decode()
    finally:
        os.close(main)
        os.close(other)
    progress, _, findings = said.rpartition("\r\033[K")
    assert re.search(r"\d+ statements prepared: \w+\.\w+", progress)
    assert findings == (GOLDEN / "names/stderr.txt").read_text().replace("\n", "\r\n")


def test_a_schema_with_mistakes_asks_no_server(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("module: bad\ntables: {t: {columns: {id: txt}}}\n")
    done = stele("verify", "--database", "host=/nowhere", tmp_path)
    assert done.returncode == 1 and "error[S017]" in done.stderr and not done.stdout
    done = stele("verify", "--json", "--database", "host=/nowhere", tmp_path)
    assert done.returncode == 1 and json.loads(done.stdout)["diagnostics"][0]["code"] == "S017"


def test_a_server_that_is_not_there_is_the_environments_fault() -> None:
    done = stele("verify", "--database", "host=/nowhere", GOLDEN / "names")
    assert done.returncode == 2
    assert done.stderr.startswith("stele: ") and "/nowhere" in done.stderr
    assert done.stderr.count("\n") == 1 and not done.stdout


def test_without_the_right_to_create_a_schema(database: Database) -> None:
    create = "CREATE ROLE v_reader LOGIN; EXCEPTION WHEN duplicate_object THEN"
    database.psql(f"DO $$ BEGIN {create} END $$")
    url = urlsplit(database.url)
    reader = url._replace(netloc="v_reader@" + url.netloc.rpartition("@")[2]).geturl()
    done = stele("verify", "--database", reader, GOLDEN / "names")
    assert done.returncode == 2
    assert "verifying needs CREATE on the database" in done.stderr


def test_a_database_that_cannot_be_written(database: Database) -> None:
    name = urlsplit(database.url).path[1:]
    database.psql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    done = stele("verify", "--database", database.url, ".", cwd=GOLDEN / "names")
    assert done.returncode == 1, "the default is for others: this transaction only creates"


def test_existing_objects_are_neither_used_nor_harmed(database: Database) -> None:
    """The same names lie in the search path already; what is created lies before them."""
    database.psql("CREATE TABLE items (id text); CREATE TYPE kind AS ENUM ('zero')")
    before = contents(database)
    done = stele("verify", "--database", database.url, ".", cwd=GOLDEN / "large")
    assert done.returncode == 0, done.stderr
    assert contents(database) == before


def test_types_of_extensions_are_found_where_they_are(database: Database, tmp_path: Path) -> None:
    database.psql("CREATE DOMAIN public.postcode AS text")
    (tmp_path / "m.yaml").write_text(
        "module: m\ntables: {t: {columns: {id: int8, code: opaque(postcode)}, primary_key: id}}\n"
    )
    assert not findings(tmp_path / "m.yaml", database)


def test_without_pglast_joins_are_passed_over_and_that_is_said(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "pglast.py").write_text("raise ModuleNotFoundError('no', name='pglast')\n")
    path = f"{tmp_path}:{TOP / 'codegen'}"
    arguments = ("verify", "--database", database.url, ".")
    done = stele(*arguments, cwd=GOLDEN / "joins", PYTHONPATH=path)
    assert done.returncode == 0 and not done.stderr
    assert "apt-get install python3-pglast" in done.stdout
    done = stele(*arguments, "--json", cwd=GOLDEN / "joins", PYTHONPATH=path)
    assert json.loads(done.stdout)["outer_joins"] is False
