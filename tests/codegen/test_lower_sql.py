"""What generated statements do on a real server. That it takes all of them, test_verify shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from database import Database
from stele import partsql
from stele.ddl_text import DdlOptions, ddl_text
from stele.diag import Diagnostics
from stele.frontend import read_schema
from stele.lower_table import TableLowering, TableResult
from stele.model import Module

TOP = Path(__file__).resolve().parents[2]


def module_of(name: str) -> Module:
    schema = read_schema([TOP / name], Diagnostics())
    assert schema is not None
    return schema.modules[0]


def lowered(module: Module) -> dict[str, tuple[TableResult, dict[str, str]]]:
    """Each table's views, and the texts that its statements share."""
    out = {}
    for table in module.tables:
        lowering = TableLowering(table, module, {module.name: module.c_prefix})
        out[table.name] = (lowering.run(), lowering.stmts.shared_texts())
    return out


class Table:
    """Calls the statements of one table with literal values."""

    def __init__(self, database: Database, module: Module, name: str) -> None:
        self.database = database
        result, constants = lowered(module)[name]
        self.stmts = {
            stmt.name.removeprefix(f"{module.c_prefix}{name}_"): partsql.Statement.of(
                stmt, constants
            )
            for stmt in result.stmts
        }

    def call(
        self,
        verb: str,
        values: dict[str, str],
        flags: frozenset[str] = frozenset(),
        soft: bool = True,
    ) -> str:
        """Runs a statement; `values` are SQL literals by column, `limit` among them.

        Inputs named there are set; a list gets no filter.
        """
        stmt = self.stmts[verb]
        states = []
        for i, param in enumerate(stmt.params):
            given = partsql.column_of(param) in values and not verb.startswith("list_by_")
            states.append(partsql.VALUE if i < stmt.inputs_from or given else partsql.UNSET)
        shape = partsql.Shape(tuple(states), frozenset(f"STELE_FLAG_{f}" for f in flags), soft)
        rendered = partsql.render(stmt, shape, partsql.Names())
        text, order = rendered.text, rendered.order
        types = ", ".join(stmt.type_of(i, shape) for i in order)
        literals = ", ".join(values[partsql.column_of(stmt.params[i])] for i in order)
        head, tail = (f" ({types})", f" ({literals})") if order else ("", "")
        return self.database.psql(f"PREPARE s{head} AS {text};\nEXECUTE s{tail};")


RETURNING = frozenset({"RETURNING"})
KEY = {"app_name": "'a'", "user_id": "'u'", "session_id": "'s'"}
PAST = "now() AT TIME ZONE 'UTC' - interval '1 hour'"


@pytest.fixture
def states(database: Database) -> Table:
    module = module_of("schema/sessions.yaml")
    database.psql(ddl_text(module, DdlOptions()))
    return Table(database, module, "session_states")


@pytest.fixture
def shop(database: Database) -> Module:
    module = module_of("tests/schemas/shop.yaml")
    database.psql(ddl_text(module, DdlOptions()))
    return module


def test_reads_see_neither_deleted_nor_expired_rows(states: Table) -> None:
    states.call("insert", KEY)
    assert states.call("find", {"id": "1"})
    states.database.psql(f"UPDATE session_states SET expires_at = {PAST}")
    assert not states.call("find", {"id": "1"})
    assert not states.call("find_for_update", {"id": "1"})
    assert not states.call("find_by_unique_active", KEY)
    assert states.call("count", {}) == "0"
    assert states.call("count", {}, frozenset({"WITH_EXPIRED"})) == "1"
    assert states.call("count", {}, frozenset({"ONLY_EXPIRED"})) == "1"
    assert states.call("exists", {}) == "f"
    states.database.psql("UPDATE session_states SET expires_at = NULL, deleted_at = now()")
    assert not states.call("find", {"id": "1"})
    assert states.call("count", {}, frozenset({"WITH_DELETED"})) == "1"
    assert states.call("count", {}, frozenset({"ONLY_DELETED"})) == "1"
    assert states.call("count", {}) == "0"


def test_delete_restore_and_purge(states: Table) -> None:
    count = "SELECT count(*) FROM session_states"
    states.call("insert", KEY)
    states.call("delete", {"id": "1"})
    assert states.database.psql(f"{count} WHERE deleted_at IS NOT NULL") == "1"
    states.call("restore", {"id": "1"})
    assert states.call("find", {"id": "1"})
    states.call("delete", {"id": "1"}, soft=False)
    assert states.database.psql(count) == "0"
    states.call("insert", {**KEY, "id": "2"})
    states.call("delete", {"id": "2"})
    states.call("delete", {"id": "2"}, soft=False)
    assert states.database.psql(count) == "1", "a deleted row is not there to be deleted"
    states.call("purge", {"deleted_at": PAST, "limit": "10"})
    assert states.database.psql(count) == "1"
    states.call("purge", {"deleted_at": "'infinity'", "limit": "10"})
    assert states.database.psql(count) == "0"


def test_expire_takes_the_oldest_within_its_limit(states: Table) -> None:
    for i in range(3):
        values = {**KEY, "session_id": f"'{i}'", "expires_at": f"{PAST} - interval '{i} hours'"}
        states.call("insert", values)
    live = "SELECT string_agg(session_id, ',' ORDER BY session_id) FROM session_states"
    states.call("expire", {"limit": "1"})
    assert states.database.psql(f"{live} WHERE deleted_at IS NULL") == "0,1"
    states.call("expire", {"limit": "1"}, soft=False)
    assert states.database.psql(live) == "0,2"


def test_upsert_inserts_updates_and_revives(states: Table) -> None:
    def upsert(**values: str) -> str:
        return states.call("upsert_by_unique_active", {**KEY, **values}, RETURNING)

    assert upsert(state="'{\"v\": 1}'").endswith("|t")
    assert '{"v": 2}' in upsert(state="'{\"v\": 2}'")
    assert states.database.psql("SELECT count(*) FROM session_states") == "1"
    assert upsert().endswith("|f")
    assert states.database.psql("SELECT state FROM session_states") == '{"v": 2}'
    states.database.psql(f"UPDATE session_states SET expires_at = {PAST}")
    upsert()
    assert states.call("find", {"id": "1"}), "an upsert revives an expired row"
    states.call("delete", {"id": "1"})
    assert upsert().endswith("|t"), "a deleted row leaves its key free"


def test_update_touches_and_reaches_expired_rows(states: Table) -> None:
    states.call("insert", {**KEY, "updated_at": "'2000-01-01'", "expires_at": PAST})
    assert states.call("update", {"id": "1", "state": "'{}'"}, RETURNING)
    assert states.database.psql("SELECT updated_at > '2020-01-01' FROM session_states") == "t"
    states.call("delete", {"id": "1"})
    assert not states.call("update", {"id": "1", "state": "'[]'"}, RETURNING)


def test_lists_resume_after_a_row(states: Table) -> None:
    for i in range(4):
        values = {**KEY, "session_id": f"'{i}'", "updated_at": f"'2020-01-0{1 + i // 2}'"}
        states.call("insert", values)
    first = states.call("list_by_recent", {**KEY, "limit": "2"}).split("\n")
    assert [line.split("|")[3] for line in first] == ["3", "2"]
    last = first[-1].split("|")
    resume = {**KEY, "updated_at": f"'{last[6]}'", "id": last[0], "limit": "9"}
    rest = states.call("list_by_recent", resume, frozenset({"RESUME"})).split("\n")
    assert [line.split("|")[3] for line in rest] == ["1", "0"]


def test_mixed_directions_resume_exactly(shop: Module, database: Database) -> None:
    """Every row once, whatever the page size, though most share their leading columns."""
    table = Table(database, shop, "orders")
    database.psql("INSERT INTO customers (email, name) VALUES ('a@b', 'A')")
    database.psql(
        "INSERT INTO orders (customer_id, currency, created_at)"
        " SELECT 1, 'EUR', timestamptz '2020-01-01' + (i / 3) * interval '1 day'"
        " FROM generate_series(0, 19) AS i"
    )
    names = [column.name for column in shop.tables[_index(shop, "orders")].columns]
    seen: list[str] = []
    values = {"customer_id": "1", "limit": "3"}
    flags: frozenset[str] = frozenset()
    while True:
        answer = table.call("list_by_of_customer", values, flags)
        if not answer:
            break
        rows = [dict(zip(names, line.split("|"), strict=True)) for line in answer.split("\n")]
        seen += [row["id"] for row in rows]
        values |= {"created_at": f"'{rows[-1]['created_at']}'", "id": rows[-1]["id"]}
        flags = frozenset({"RESUME"})
    expected = database.psql(
        "SELECT id FROM orders ORDER BY created_at DESC, id"
        + _direction(shop, "orders", "of_customer")
    )
    assert seen == expected.split("\n")


def _index(module: Module, table: str) -> int:
    return [one.name for one in module.tables].index(table)


def _direction(module: Module, table: str, spec: str) -> str:
    found = next(one for one in module.tables[_index(module, table)].lists if one.key == spec)
    return f" {found.order[-1].order.value}"


def test_version_is_checked_and_counted(shop: Module, database: Database) -> None:
    table = Table(database, shop, "invoices")
    database.psql(
        "INSERT INTO customers (email, name) VALUES ('a@b', 'A');"
        "INSERT INTO orders (customer_id, currency) VALUES (1, 'EUR');"
    )
    table.call("insert", {"order_id": "1", "number": "'n1'"})
    assert not table.call("update", {"id": "1", "note": "'x'", "version": "7"}, RETURNING)
    assert table.call("update", {"id": "1", "note": "'x'", "version": "1"}, RETURNING)
    assert database.psql("SELECT version FROM invoices") == "2"


def test_a_key_that_spans_deleted_rows_takes_the_deletion_back(
    shop: Module, database: Database
) -> None:
    table = Table(database, shop, "invoices")
    database.psql(
        "INSERT INTO customers (email, name) VALUES ('a@b', 'A');"
        "INSERT INTO orders (customer_id, currency) VALUES (1, 'EUR');"
    )
    table.call("insert", {"order_id": "1", "number": "'n1'"})
    table.call("delete", {"id": "1"})
    table.call("upsert_by_number", {"order_id": "1", "number": "'n1'"}, RETURNING)
    assert table.call("find", {"id": "1"})


def test_an_upsert_without_anything_to_set(shop: Module, database: Database) -> None:
    table = Table(database, shop, "product_categories")
    database.psql(
        "INSERT INTO products (id, sku, name, price) VALUES (gen_random_uuid(), 's', 'p', 1);"
        "INSERT INTO categories (name) VALUES ('c');"
    )
    product = database.psql("SELECT id FROM products")
    values = {"product_id": f"'{product}'", "category_id": "1"}
    assert table.call("upsert", values, RETURNING).endswith("|t")
    assert table.call("upsert", values, RETURNING).endswith("|f")


def test_an_upsert_into_a_partitioned_table(shop: Module, database: Database) -> None:
    table = Table(database, shop, "audit_log")
    values = {"at": "'2020-01-01'", "id": "1", "actor": "'a'", "change": "'{}'"}
    assert table.call("upsert", values, RETURNING)
    assert "|b|" in table.call("upsert", {**values, "actor": "'b'"}, RETURNING)
    assert database.psql("SELECT count(*) FROM audit_log") == "1"
