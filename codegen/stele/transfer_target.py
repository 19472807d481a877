"""The table that is read or written: its names at run time, its columns, its statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stele.model import Column, Identity, Index, Module, Schema, Table
from stele.names import sql_ident
from stele.policy import Policy
from stele.sql import and_all
from stele.suggest import remedy
from stele.transfer_types import TransferColumn, transfer_column


class TargetProblem(Exception):
    """What was asked for is not in the schema."""


@dataclass(frozen=True, slots=True)
class Target:
    """A table under the schema and prefix of run time."""

    module: Module
    table: Table
    schema: str
    prefix: str
    columns: tuple[TransferColumn, ...]  # those that can be written

    def qualify(self, name: str) -> str:
        return qualify(self.module, self.schema, self.prefix, name)

    @property
    def name(self) -> str:
        return self.qualify(self.table.name)

    # -- reading --

    def _rows(self, items: Sequence[str], live: bool) -> str:
        policy = Policy(self.table)
        where = and_all(policy.live()) if live else ""
        keys = ", ".join(f"t.{sql_ident(name)}" for name in self.table.primary_key)
        order = f"\nORDER BY {keys}" if keys else ""
        listed = ", ".join(items)
        return f"SELECT {listed}\nFROM {self.name} AS t\nWHERE true{where}{order}"

    def read_csv(self, live: bool) -> str:
        rows = self._rows([f"t.{sql_ident(one.name)}" for one in self.columns], live)
        return f"COPY ({rows}) TO STDOUT (FORMAT csv, HEADER)"

    def read_json(self, live: bool) -> str:
        rows = self._rows([one.as_json() for one in self.columns], live)
        return f"COPY (SELECT row_to_json(r) FROM ({rows}) AS r) TO STDOUT"

    # -- writing --

    def required(self) -> list[str]:
        """Columns that every record must have."""
        policy = Policy(self.table)
        return [
            one.name
            for one in self.columns
            if not one.column.nullable
            and not one.column.default
            and one.column.identity is Identity.NONE
            and not policy.insert_value(one.column)
        ]

    def conflict(self, key: str) -> tuple[tuple[str, ...], str]:
        """The columns that a conflict is about, and the predicate of their index."""
        if not key:
            if not self.table.primary_key:
                raise TargetProblem(f"{self.table.name} has no primary key: name a unique key")
            return self.table.primary_key, ""
        uniques = {index.key: index for index in self.table.indexes if _is_plain(index)}
        if key not in uniques:
            hint = remedy(key, list(uniques), "unique key")
            raise TargetProblem(f"{self.table.name} has no unique key {key}; {hint}")
        index = uniques[key]
        terms = Policy(self.table).index_predicate(index.predicate)
        where = f" WHERE {' AND '.join(terms)}" if terms else ""
        return tuple(item.column for item in index.items), where

    def insert(self, shape: Sequence[int], on_conflict: str, key: str) -> str:
        """From the stage, rows $1 to $2 of shape $3, and how many were inserted and updated."""
        policy = Policy(self.table)
        chosen = [(i, self.columns[i]) for i in shape]
        given = {one.name for _, one in chosen}
        names = [sql_ident(one.name) for _, one in chosen]
        values = [f"s.c{i}::{one.cast}" for i, one in chosen]
        for one in self.columns:
            stamp = policy.insert_value(one.column)
            if stamp and one.name not in given:
                names.append(sql_ident(one.name))
                values.append(stamp)
        always = any(one.column.identity is Identity.ALWAYS for _, one in chosen)
        text = f"INSERT INTO {self.name} AS t"
        text += f" ({', '.join(names)})" if names else ""
        text += "\nOVERRIDING SYSTEM VALUE" if always else ""
        text += f"\nSELECT {', '.join(values)}\nFROM pg_temp.stele_stage AS s"
        text += "\nWHERE s.n >= $1::int8 AND s.n < $2::int8 AND s.shape = $3::int4\nORDER BY s.n"
        if on_conflict == "skip":
            text += "\nON CONFLICT DO NOTHING"
        elif on_conflict == "update":
            text += self._update([one for _, one in chosen], key)
        tells = "t.xmax = 0" if self.table.partition_by is None else "true"
        return (
            f"WITH w AS (\n{text}\nRETURNING ({tells}) AS inserted\n)\n"
            "SELECT count(*) FILTER (WHERE w.inserted), count(*) FILTER (WHERE NOT w.inserted)\n"
            "FROM w"
        )

    def _update(self, given: Sequence[TransferColumn], key: str) -> str:
        policy = Policy(self.table)
        columns, where = self.conflict(key)
        kept = {*columns, *self.table.primary_key, self.table.version}
        names = [sql_ident(one.name) for one in given if one.name not in kept]
        sets = [f"{name} = EXCLUDED.{name}" for name in names]
        touch = self.table.touch
        if touch and touch not in {one.name for one in given} and policy.touch_stamp():
            sets.append(policy.touch_stamp())
        if policy.version_stamp():
            sets.append(policy.version_stamp())
        if not sets:
            sets.append(f"{sql_ident(columns[0])} = EXCLUDED.{sql_ident(columns[0])}")
        target = ", ".join(sql_ident(name) for name in columns)
        return f"\nON CONFLICT ({target}){where} DO UPDATE SET {', '.join(sets)}"


def _is_plain(index: Index) -> bool:
    return index.unique and all(item.column for item in index.items)


def qualify(module: Module, schema: str, prefix: str, name: str) -> str:
    if module.fold_lower:
        schema, prefix = schema.lower(), prefix.lower()
    return (f"{sql_ident(schema)}." if schema else "") + sql_ident(prefix + name)


def find_target(schema: Schema, wanted: str, db_schema: str, prefix: str) -> Target:
    """TABLE, or MODULE.TABLE where two modules have one of that name."""
    module_name, _, table_name = wanted.rpartition(".")
    found = [
        (module, table)
        for module in schema.modules
        for table in module.tables
        if table.name == table_name and module_name in ("", module.name)
    ]
    if not found:
        known = [table.name for module in schema.modules for table in module.tables]
        raise TargetProblem(f"there is no table {wanted}; {remedy(table_name, known, 'table')}")
    if len(found) > 1:
        modules = " or ".join(f"{module.name}.{table_name}" for module, _ in found)
        raise TargetProblem(f"several modules have a table {table_name}: say {modules}")
    module, table = found[0]

    def own(name: str) -> str:
        return qualify(module, db_schema, prefix, name)

    columns = tuple(
        transfer_column(column, schema, own) for column in table.columns if _writable(column)
    )
    return Target(module, table, db_schema, prefix, columns)


def _writable(column: Column) -> bool:
    return not column.generated
