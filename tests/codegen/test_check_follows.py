"""Tables that follow others, and tables in partitions by their time to live."""

from __future__ import annotations

from pathlib import Path

import pytest
from stele.diag import Diagnostics
from stele.frontend import read_schema
from stele.model import Follows, Table

PARENT = """
module: chats
tables:
  chats:
    columns: {id: bigserial, name: "varchar(20)", ends_at: timestamptz?, deleted_at: timestamptz?}
    primary_key: id
    ttl: ends_at
    soft_delete: deleted_at
    unique:
      name: {columns: [name], where: WHERE}
    indexes:
      ends: {columns: [ends_at], where: "not_deleted AND ends_at IS NOT NULL"}
  messages:
    columns: {id: bigserial, chat: text, number: int8}
    primary_key: id
    indexes:
      chat: [chat, number]
    follows: {table: chats, columns: [chat], to: [name]}
"""

PARTED = """
module: log
tables:
  lines:
    columns: {id: int8, ends_at: timestamptz, text: text}
    primary_key: KEY
    ttl: ends_at
    partition_by: {method: METHOD, columns: [ends_at]}
"""


def tables(tmp_path: Path, text: str) -> dict[str, Table]:
    (tmp_path / "schema.yaml").write_text(text)
    diags = Diagnostics()
    schema = read_schema([tmp_path / "schema.yaml"], diags)
    if schema is None:
        raise ValueError(" ".join(item.code for item in diags.sorted()))
    return {table.name: table for table in schema.modules[0].tables}


def test_a_table_follows_another(tmp_path: Path) -> None:
    found = tables(tmp_path, PARENT.replace("WHERE", "not_deleted"))
    follows = found["messages"].follows
    assert isinstance(follows, Follows)
    assert (follows.table, follows.columns, follows.to) == ("chats", ("chat",), ("name",))
    assert found["chats"].follows is None


def test_columns_there_are_called_like_those_here_unless_told(tmp_path: Path) -> None:
    text = PARENT.replace("WHERE", "not_deleted").replace("chat:", "name:")
    text = text.replace("chat: text", "name: text").replace("[chat, number]", "[name, number]")
    found = tables(tmp_path, text.replace("columns: [chat], to: [name]", "columns: [name]"))
    follows = found["messages"].follows
    assert follows is not None and follows.to == ("name",)


def test_a_key_of_some_rows_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="^S068$"):
        tables(tmp_path, PARENT.replace("WHERE", '"not_deleted AND id > 5"'))


@pytest.mark.parametrize("index", ['{columns: [chat], where: "number > 0"}', "[number, chat]"])
def test_an_index_finds_what_follows(tmp_path: Path, index: str) -> None:
    text = PARENT.replace("WHERE", "not_deleted").replace("[chat, number]", index)
    with pytest.raises(ValueError, match="^S069$"):
        tables(tmp_path, text)


def test_a_time_to_live_may_part_a_table(tmp_path: Path) -> None:
    text = PARTED.replace("METHOD", "range").replace("KEY", "[ends_at, id]")
    assert not tables(tmp_path, text)["lines"].columns[1].nullable


def test_elsewhere_it_is_a_plain_column(tmp_path: Path) -> None:
    text = PARTED.replace("METHOD", "hash").replace("KEY", "[ends_at, id]")
    with pytest.raises(ValueError, match="^S049 S049$"):
        tables(tmp_path, text)
