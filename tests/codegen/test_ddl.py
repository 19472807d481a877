"""DDL is run, not read: by psql on a real server, under all kinds of names."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import cluster
import pytest
from database import Database
from stele.ddl import Creation, Hole, Kind, creations, index_made
from stele.ddl_text import DdlOptions, ddl_text, optional_indexes
from stele.diag import Diagnostics
from stele.frontend import read_schema
from stele.lower_catalog import made_parts, parts_of
from stele.model import Module
from stele.sql import Part
from stele.statements import split_statements

TOP = Path(__file__).resolve().parents[2]
SCHEMAS = ["schema/sessions.yaml", "tests/schemas/shop.yaml"]
NAMES = [("", ""), ("", "app1_"), ("tenant_a", ""), ("tenant_a", "app1_"), ("Upper", "X_")]

# Everything about the objects of one schema, one line each.
CATALOG = """
WITH n AS (SELECT oid FROM pg_namespace WHERE nspname = '{schema}'),
     r AS (SELECT * FROM pg_class WHERE relnamespace = (SELECT oid FROM n))
SELECT concat_ws(' ', 'column', r.relname, attnum, attname, format_type(atttypid, atttypmod),
                 attnotnull, attidentity, attgenerated, pg_get_expr(adbin, adrelid),
                 col_description(attrelid, attnum))
  FROM r JOIN pg_attribute ON attrelid = r.oid
  LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
 WHERE attnum > 0 AND r.relkind IN ('r', 'p')
UNION ALL SELECT concat_ws(' ', 'table', relname, relkind, obj_description(oid, 'pg_class')) FROM r
UNION ALL SELECT pg_get_indexdef(r.oid) FROM r WHERE relkind IN ('i', 'I')
UNION ALL SELECT concat_ws(' ', conname, pg_get_constraintdef(oid))
  FROM pg_constraint WHERE connamespace = (SELECT oid FROM n)
UNION ALL SELECT concat_ws(' ', 'label', typname, enumlabel, enumsortorder)
  FROM pg_type t JOIN pg_enum ON enumtypid = t.oid WHERE typnamespace = (SELECT oid FROM n)
UNION ALL SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN r ON tgrelid = r.oid
  WHERE NOT tgisinternal
UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = (SELECT oid FROM n)
ORDER BY 1
"""


def module_of(name: str) -> Module:
    schema = read_schema([TOP / name], Diagnostics())
    assert schema is not None
    return schema.modules[0]


def run(database: Database, script: str, *variables: str) -> None:
    """Runs a script as a DBA would; a warning is a failure too."""
    settings = [word for variable in variables for word in ("-v", variable)]
    done = subprocess.run(
        [cluster.find_bindir() / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", *settings, database.url],
        input=script,
        env={**cluster.server_environment(), "PGOPTIONS": "-c client_min_messages=warning"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr


def catalog(database: Database, schema: str) -> str:
    found = database.psql(CATALOG.format(schema=schema or "public"))
    assert found.count("\n") > 50
    return found


def clear(database: Database, schema: str) -> None:
    """An empty schema to create in."""
    name = f'"{schema or "public"}"'
    sql = f"SET client_min_messages = error; DROP SCHEMA IF EXISTS {name} CASCADE"
    database.psql(f"{sql}; CREATE SCHEMA {name}")


def folded(module: Module, names: tuple[str, str]) -> tuple[str, str]:
    return (names[0].lower(), names[1].lower()) if module.fold_lower else names


@pytest.mark.parametrize("names", NAMES, ids=str)
@pytest.mark.parametrize("name", SCHEMAS)
def test_every_way_makes_the_same(name: str, names: tuple[str, str], database: Database) -> None:
    """Plain, repeatable, for psql with defaults or variables, and as generated code does it."""
    module = module_of(name)
    schema, prefix = folded(module, names)
    clear(database, schema)
    every = frozenset(optional_indexes(module))
    run(database, ddl_text(module, DdlOptions(*names, optional=every)))
    wanted = catalog(database, schema)

    for repeatable, psql in itertools.product((False, True), repeat=2):
        clear(database, schema)
        script = ddl_text(module, DdlOptions(*names, repeatable, psql, every))
        for _ in range(2 if repeatable else 1):
            run(database, script)
        assert catalog(database, schema) == wanted, f"{repeatable=} {psql=}"

    clear(database, schema)
    run(database, "\n".join(as_the_runtime(one, schema, prefix) for one in creations(module)))
    assert catalog(database, schema) == wanted

    if schema:
        clear(database, schema)
        script = ddl_text(module, DdlOptions(psql=True, optional=every))
        run(database, script, f"schema={schema}", f"prefix={prefix}")
        assert catalog(database, schema) == wanted


def as_the_runtime(one: Creation, schema: str, prefix: str) -> str:
    return "".join(_completed(part, schema, prefix) for part in parts_of(one.create)) + ";"


def _completed(part: Part, schema: str, prefix: str) -> str:
    match part.macro:
        case "SQL":
            return part.text or ""
        case "TABLE":
            table = f'"{prefix}{part.text}"'
            return f'"{schema}".{table}' if schema else table
        case "SCHEMA_":
            return f"{schema}_" if schema else ""
        case "PREFIX":
            return prefix
    raise AssertionError(part)


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_is_made_bears_the_names_that_are_announced(name: str, database: Database) -> None:
    """The runtime looks for an object under its name before it creates it."""
    module = module_of(name)
    every = frozenset(optional_indexes(module))
    run(database, ddl_text(module, DdlOptions("", "p_", optional=every)))
    known = set(
        database.psql(
            "SELECT relname FROM pg_class UNION SELECT conname FROM pg_constraint"
            " UNION SELECT typname FROM pg_type UNION SELECT proname FROM pg_proc"
        ).split("\n")
    )
    for one in creations(module):
        announced = "".join(_completed(part, "", "p_") for part in made_parts(one.name))
        assert announced in known, one


@pytest.mark.parametrize("name", SCHEMAS)
def test_indexes_can_be_built_beside_writers(name: str, database: Database) -> None:
    module = module_of(name)
    run(database, ddl_text(module, DdlOptions(optional=frozenset(optional_indexes(module)))))
    indexes = [one for one in creations(module) if one.kind is Kind.INDEX]
    assert indexes
    for one in indexes:
        made = "".join(_completed(part, "", "") for part in made_parts(one.name))
        if one.concurrently:
            database.psql(f'DROP INDEX "{made}"')
            # One statement to a call: it cannot run in a transaction block.
            text = "".join(_completed(part, "", "") for part in parts_of(one.concurrently))
            assert "CONCURRENTLY" in text
            database.psql(text)


def test_the_type_names_are_those_of_the_catalog(database: Database) -> None:
    """Verification at run time compares them as text."""
    from stele.lower_types import catalog_type
    from stele.model import Scalar

    module = module_of("tests/schemas/shop.yaml")
    run(database, ddl_text(module, DdlOptions()))
    for table in module.tables:
        shown = database.psql(
            "SELECT format_type(atttypid, atttypmod) || ' ' || attnotnull FROM pg_attribute"
            f" WHERE attrelid = '{table.name}'::regclass AND attnum > 0 ORDER BY attnum"
        )
        told = [
            f"{catalog_type(column.type)} {'false' if column.nullable else 'true'}"
            for column in table.columns
        ]
        assert shown.split("\n") == told
    assert any(column.type.scalar is Scalar.ENUM for column in module.tables[2].columns)


def test_index_names_follow_the_modules_pattern() -> None:
    module = module_of("schema/sessions.yaml")
    table = module.tables[0]
    made = index_made(module, table, table.indexes[0])
    assert made.pieces == ("idx_", Hole.SCHEMA_, Hole.PREFIX, "session_states_unique_active")


def test_statements_are_split_where_sql_ends_them() -> None:
    text = """
    CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $x$ SELECT 'a;b'; $x$; -- not; here
    SELECT ";", 'it''s; so', E'\\';' /* nor; here */;
    CREATE FUNCTION g() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END;
    """
    first, second, third = split_statements(text)
    assert first.endswith("$x$") and second.startswith("-- not; here\n")
    assert third.endswith("END")


def test_optional_indexes_are_created_only_where_they_are_asked_for() -> None:
    module = module_of("schema/sessions.yaml")
    every = frozenset(optional_indexes(module))
    plain = ddl_text(module, DdlOptions())
    assert "idx_session_events_lookup" in plain and "event_id" not in plain
    assert {"session_events.event_id", "session_events.user_message"} < every
    one = ddl_text(module, DdlOptions(optional=frozenset({"session_events.event_id"})))
    assert one.count("CREATE INDEX") == plain.count("CREATE INDEX") + 1
    assert "idx_session_events_event_id" in one
    full = ddl_text(module, DdlOptions(optional=every))
    assert full.count("CREATE INDEX") == plain.count("CREATE INDEX") + len(every)


@pytest.mark.parametrize("psql", [False, True])
def test_optional_indexes_run(database: Database, psql: bool) -> None:
    module = module_of("schema/sessions.yaml")
    every = frozenset(optional_indexes(module))
    names = "SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'idx%'"
    run(database, ddl_text(module, DdlOptions(psql=psql)))
    usual = int(database.psql(names))
    run(database, ddl_text(module, DdlOptions("", "", True, psql, every)))
    assert int(database.psql(names)) == usual + len(every)
