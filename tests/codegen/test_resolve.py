"""Nodes become the model: the session tables, the shop, and what the language promises."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from stele.diag import Diagnostics
from stele.frontend import read_schema
from stele.model import (
    Action,
    Deferrable,
    Identity,
    Module,
    Nulls,
    Order,
    Predicate,
    Scalar,
    Schema,
    Table,
    Type,
)

TOP = Path(__file__).resolve().parents[2]
NAME = Type(Scalar.VARCHAR, length=255)
STAMP = Type(Scalar.TIMESTAMP)


def read(*paths: Path) -> Schema:
    diags = Diagnostics()
    schema = read_schema(paths, diags)
    assert schema is not None and not diags.items, "\n".join(map(str, diags.sorted()))
    return schema


def module(text: str, tmp_path: Path) -> Module:
    (tmp_path / "m.yaml").write_text(f"module: m\n{text}")
    return read(tmp_path / "m.yaml").modules[0]


@pytest.fixture(scope="module")
def sessions() -> Module:
    return read(TOP / "schema/sessions.yaml").modules[0]


@pytest.fixture(scope="module")
def shop() -> dict[str, Table]:
    (found,) = read(TOP / "tests/schemas/shop.yaml").modules
    return {table.name: table for table in found.tables}


# What the peer's own DDL declares: columns between id and the stamps, and what is unique.
PEER = {
    "session_states": ("app_name user_id session_id state", "app_name user_id session_id"),
    "session_events": ("app_name user_id session_id event", ""),
    "session_track_events": ("app_name user_id session_id track event", ""),
    "session_summaries": (
        "app_name user_id session_id filter_key summary",
        "app_name user_id session_id filter_key",
    ),
    "app_states": ("app_name key value", "app_name key"),
    "user_states": ("app_name user_id key value", "app_name user_id key"),
}
OURS = ["session_summary_jobs"]  # beside them, which it does not mind
LOOKUPS = {
    "session_events": "app_name user_id session_id created_at",
    "session_track_events": "app_name user_id session_id track created_at",
}


SESSION = ("app_name", "user_id", "session_id")
FOLLOWING = {"session_events", "session_track_events", "session_summaries"}


def test_the_session_tables_are_the_peers(sessions: Module) -> None:
    assert [table.name for table in sessions.tables] == [*PEER, *OURS]
    for table in sessions.tables[: len(PEER)]:
        own, unique = PEER[table.name]
        created = [] if table.name == "session_summaries" else ["created_at"]
        tail = [*created, "updated_at", "expires_at", "deleted_at"]
        assert [column.name for column in table.columns] == ["id", *own.split(), *tail]
        assert table.primary_key == ("id",)
        assert table.columns[0].identity is Identity.SERIAL
        assert table.columns[0].type == Type(Scalar.INT8)
        indexes = {index.key: index for index in table.indexes}
        found = indexes.pop("unique_active", None)
        assert (found is not None) == bool(unique)
        if found:
            assert [item.column for item in found.items] == unique.split()
            assert found.unique and found.predicate == Predicate(not_deleted=True)
        expires = indexes.pop("expires")
        assert expires.predicate == Predicate(sql="expires_at IS NOT NULL") and not expires.unique
        for key in [key for key, index in indexes.items() if index.optional]:
            assert not indexes.pop(key).unique
        lookup = {key: [item.column for item in index.items] for key, index in indexes.items()}
        wanted = LOOKUPS.get(table.name)
        assert lookup == ({"lookup": wanted.split()} if wanted else {})
        assert (table.touch, table.ttl, table.soft_delete) == (
            *("updated_at", "expires_at", "deleted_at"),
        )
        follows = table.follows
        assert (follows is not None) == (table.name in FOLLOWING)
        assert follows is None or (follows.table, follows.columns, follows.to) == (
            *("session_states", SESSION, SESSION),
        )


def test_the_session_columns_are_the_peers(sessions: Module) -> None:
    nullable = {"expires_at", "deleted_at", "state", "summary", "value"}
    types = {
        **{"id": Type(Scalar.INT8), "state": Type(Scalar.JSONB), "event": Type(Scalar.JSONB)},
        **{"summary": Type(Scalar.JSONB), "value": Type(Scalar.TEXT)},
        **dict.fromkeys(("created_at", "updated_at", "expires_at", "deleted_at"), STAMP),
    }
    defaults = {"filter_key": "''", "created_at": "CURRENT_TIMESTAMP"}
    defaults["updated_at"] = "CURRENT_TIMESTAMP"
    for table in sessions.tables[: len(PEER)]:
        for column in table.columns:
            assert column.nullable == (column.name in nullable), column
            assert column.type == types.get(column.name, NAME), column
            assert column.default == defaults.get(column.name, ""), column


def test_the_session_names_fit(sessions: Module) -> None:
    assert sessions.index_name == "idx_{schema_}{prefix}{table}_{key}" and sessions.fold_lower
    room = 63 - len("idx_session_summaries_unique_active")
    assert sessions.longest.schema + 1 + sessions.longest.prefix == room == 28


def test_lists_end_with_the_primary_key(sessions: Module, shop: dict[str, Table]) -> None:
    (recent,) = sessions.tables[0].lists
    assert [(item.column, item.order) for item in recent.order] == [
        ("updated_at", Order.DESC),
        ("id", Order.DESC),
    ]
    lists = {spec.key: spec for table in shop.values() for spec in table.lists}
    assert [item.column for item in lists["in_warehouse"].order] == ["available", "product_id"]
    assert [item.column for item in lists["of_actor"].order] == ["at", "id"]
    # `order` is ordered by and part of the key; `conn` is the rest of the key
    assert [item.column for item in lists["class"].order] == ["order", "conn"]


def test_the_shop_uses_the_whole_language(shop: dict[str, Table]) -> None:
    columns = [column for table in shop.values() for column in table.columns]
    assert {(column.type.scalar, column.nullable) for column in columns} == {
        (scalar, nullable) for scalar in Scalar for nullable in (True, False)
    }
    arrays = {column.type.scalar for column in columns if column.type.array}
    assert arrays == set(Scalar) - {Scalar.OPAQUE}
    assert {column.identity for column in columns} == set(Identity)
    keys = [key for table in shop.values() for key in table.foreign_keys]
    actions = {key.on_delete for key in keys} | {key.on_update for key in keys}
    assert actions == set(Action) - {Action.SET_DEFAULT}
    assert {key.deferrable for key in keys} == set(Deferrable)
    indexes = [index for table in shop.values() for index in table.indexes]
    items = [item for index in indexes for item in index.items]
    assert any(item.expression for item in items) and any(item.opclass for item in items)
    assert {item.order for item in items} == set(Order)
    assert Nulls.LAST in {item.nulls for item in items}
    assert {"btree", "gin"} <= {index.method for index in indexes}
    for name in ("include", "nulls_not_distinct", "with_options", "predicate", "doc"):
        assert any(getattr(index, name) for index in indexes), name
    unused = {"distribute_by", "jobs", "storage"}  # needs an extension; see test_jobs
    for found in fields(Table):
        if found.name not in unused:
            assert any(getattr(table, found.name) for table in shop.values()), found.name


def test_parts_of_the_shop(shop: dict[str, Table]) -> None:
    customers = shop["customers"]
    uniques = {index.key: index for index in customers.indexes if index.unique}
    assert uniques["phone"].predicate == Predicate(True, "phone IS NOT NULL")
    assert uniques["email_folded"].items[0].expression == "lower(email)"
    assert [index.unique for index in customers.indexes] == [True] * 3 + [False] * 2
    assert customers.columns[-3].name == "created_at" and customers.soft_delete == "deleted_at"
    payments = shop["payments"]
    assert payments.foreign_keys[0].key == "invoice_id"
    assert payments.foreign_keys[0].ref_columns == ("id",)
    assert payments.checks[0].key == "reference_check"
    defaults = {column.name: column.default for column in shop["products"].columns}
    assert defaults["currency"] == "'EUR'" and defaults["description"] == "''"
    assert defaults["tags"] == "'{}'" and defaults["version"] == "1"
    gateway = next(column for column in shop["warehouses"].columns if column.name == "gateway")
    assert gateway.type == Type(Scalar.OPAQUE, name="macaddr")


@pytest.mark.parametrize(
    ("written", "type_"),
    [
        ("Bigint", Type(Scalar.INT8)),
        ("double  precision[]", Type(Scalar.FLOAT8, array=True)),
        ("character varying (7)", Type(Scalar.VARCHAR, length=7)),
        ("char", Type(Scalar.CHAR, length=1)),
        ("decimal(5)", Type(Scalar.NUMERIC, precision=5, scale=0)),
        ("numeric( 5 , 2 )", Type(Scalar.NUMERIC, precision=5, scale=2)),
        ("timestamp with time zone", Type(Scalar.TIMESTAMPTZ)),
        ("time without time zone", Type(Scalar.TIME)),
        ("opaque(bit varying(3))", Type(Scalar.OPAQUE, name="bit varying(3)")),
        ("opaque(macaddr[])", Type(Scalar.OPAQUE, name="macaddr[]")),
        ("{opaque: citext}", Type(Scalar.OPAQUE, name="citext")),
        ("m.size", Type(Scalar.ENUM, name="size", enum_module="m")),
        ('"size[]"', Type(Scalar.ENUM, array=True, name="size", enum_module="m")),
    ],
)
@pytest.mark.parametrize("nullable", [False, True])
def test_types(written: str, type_: Type, nullable: bool, tmp_path: Path) -> None:
    if nullable:
        bare = written.rstrip('}"')
        written = f"{bare}?{written[len(bare) :]}"
    head = "enums: {size: [small]}\ntables:\n  t:\n    columns:\n"
    (table,) = module(f"{head}      c: {written}\n", tmp_path).tables
    assert (table.columns[0].type, table.columns[0].nullable) == (type_, nullable)


@pytest.mark.parametrize(
    ("type_", "value", "default"),
    [
        ("text", '"it\'s"', "'it''s'"),
        ("text", '"a\\\\b"', "E'a\\\\b'"),
        ("text", '""', "''"),
        ("text", "null", "'null'"),
        ("bool", "true", "true"),
        ("int2", "-32768", "-32768"),
        ("numeric", "1.50", "1.50"),
        ("float8", "NaN", "'NaN'"),
        ('"text[]"', '[a b, "c\\"d", "e\\\\f"]', 'E\'{"a b","c\\\\"d","e\\\\\\\\f"}\''),
        ("jsonb", '"{}"', "'{}'"),
        ("timestamptz", "2000-01-31 08:00:00Z", "'2000-01-31 08:00:00Z'"),
    ],
)
def test_values(type_: str, value: str, default: str, tmp_path: Path) -> None:
    text = f"tables:\n  t:\n    columns:\n      c: {{type: {type_}, value: {value}}}\n"
    assert module(text, tmp_path).tables[0].columns[0].default == default


def test_modules_refer_to_each_other(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(
        "module: b\nenums: {size: [small]}\ntables:\n  two:\n"
        "    columns: {id: int8, part: {type: int8, references: a.one(id)}}\n"
        "    primary_key: [part, id]\n    unique:\n      id: [id]\n"
    )
    (tmp_path / "a.yaml").write_text(
        "module: a\ntables:\n  one:\n"
        "    columns: {id: {type: int8, references: b.two(id)}, size: b.size}\n"
        "    primary_key: id\n"
    )
    schema = read(tmp_path)
    assert [found.name for found in schema.modules] == ["a", "b"]
    one = schema.modules[0].tables[0]
    assert one.columns[1].type == Type(Scalar.ENUM, name="size", enum_module="b")
    assert (one.foreign_keys[0].ref_module, one.foreign_keys[0].ref_table) == ("b", "two")
    assert read(tmp_path / "b.yaml", tmp_path / "a.yaml") == schema


def test_every_node_knows_its_place(shop: dict[str, Table]) -> None:
    lines = (TOP / "tests/schemas/shop.yaml").read_text().splitlines()
    for table in shop.values():
        assert lines[table.span.line - 1].lstrip().startswith(table.name)
        named = [(column.name, column.span) for column in table.columns]
        named += [(spec.key, spec.span) for spec in table.lists]
        named += [(item.key, item.span) for item in table.objects]
        for name, span in named:
            assert lines[span.line - 1][span.column - 1 :].startswith(name)


def test_the_model_is_frozen_and_hashable(shop: dict[str, Table]) -> None:
    for table in shop.values():
        assert is_dataclass(table) and isinstance(hash(table), int)


def test_hash_seed_and_working_folder_change_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from stele.diag import Diagnostics;"
        "from stele.frontend import read_schema; d = Diagnostics();"
        "s = read_schema([Path(p) for p in sys.argv[1:]], d);"
        "print(s); print(*d.sorted(), sep='\\n')"
    )
    good = [str(TOP / "schema/sessions.yaml"), str(TOP / "tests/schemas/shop.yaml")]
    bad = sorted(str(path) for path in (TOP / "tests/golden/errors").glob("[u-w]*/schema.yaml"))
    for paths in (good, bad):
        outputs = set()
        for seed, order in (("0", paths), ("1", paths[::-1]), ("4711", paths)):
            done = subprocess.run(
                [sys.executable, "-W", "error", "-c", program, *order],
                cwd=tmp_path if seed == "1" else TOP,
                env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(TOP / "codegen")},
                capture_output=True,
                text=True,
                check=True,
            )
            outputs.add(done.stdout)
        assert len(outputs) == 1 and len(outputs.pop()) > 1000
