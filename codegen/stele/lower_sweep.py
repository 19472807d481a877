"""The statements of the sweeper: what it claims in one batch, what follows, whole partitions.

A claim takes the oldest rows from a watermark on, skips what others hold, and looks at each row
again once it is locked. It never finds a row by its place where rows may lie in partitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stele.lower_stmt import Statements, Stmt
from stele.lower_types import catalog_type
from stele.lower_view import parts_array, rows_array
from stele.model import Module, Scalar, Table, parts_by_ttl
from stele.policy import Policy, now
from stele.sql import ELSE, END, IF_SOFT, Part, and_all, column, merge, param, sql
from stele.sql import table as table_part

_FROM, _RETENTION = 0, 1  # parameters; a claim of expired rows has no retention


@dataclass(frozen=True, slots=True)
class Sweep:
    """Statements to describe, and what the table's descriptor says of them."""

    stmts: tuple[Stmt, ...]
    members: tuple[tuple[str, str], ...]


def followers(module: Module, table: Table) -> tuple[Table, ...]:
    return tuple(one for one in module.tables if one.follows and one.follows.table == table.name)


def key_columns(module: Module, table: Table) -> tuple[str, ...]:
    """The columns of a table that others follow it by, each once."""
    names = [name for one in followers(module, table) if one.follows for name in one.follows.to]
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class Sweeps:
    """Makes the statements of one table."""

    stmts: Statements
    module: Module

    @property
    def table(self) -> Table:
        return self.stmts.table

    @property
    def policy(self) -> Policy:
        return self.stmts.policy

    @property
    def base(self) -> str:
        return self.stmts.base

    def sweep(self) -> Sweep:
        made: list[Stmt] = []
        members: list[tuple[str, str]] = []
        if self.table.primary_key and self.table.ttl:
            expired = [self.policy.expired_before(), *self.policy.writable()]
            terms = [sql(and_all(expired))]
            made += [
                self._claim("sweep", self.table.ttl, terms, expires=True),
                self._oldest("sweep_oldest", self.table.ttl, terms, expires=True),
            ]
            if parts_by_ttl(self.table) and not followers(self.module, self.table):
                made.append(self._partitions())
        if self.table.primary_key and self.table.soft_delete:
            terms = [sql(f"\n  AND {self._long_ago()}"), param(_RETENTION), sql(_AGO)]
            made += [
                self._claim("sweep_deleted", self.table.soft_delete, terms, expires=False),
                self._oldest("sweep_oldest_deleted", self.table.soft_delete, terms, expires=False),
            ]
        if self.table.follows:
            made.append(self._follow())
        for stmt in made:
            verb = stmt.name.removeprefix(f"{self.base}_")
            if verb != "follow":
                members.append((verb, f"&{stmt.name}_stmt"))
        return Sweep(tuple(made), tuple(members))

    # -- claiming --

    @property
    def _by_place(self) -> bool:
        return self.table.partition_by is None and not self.table.distribute_by

    def _long_ago(self) -> str:
        name = self.table.soft_delete
        return f"{column(name)} < {now(self.stmts.columns[name])} - "

    def _claim(self, verb: str, stamp: str, terms: Sequence[Part], expires: bool) -> Stmt:
        keys = key_columns(self.module, self.table) if expires else ()
        params = self._params(stamp, expires)
        limit, lock = len(params), len(params) + 1
        params += [
            _plain(name, "STELE_GEN_INT8", f"offsetof(stele_gen_claim, {name})")
            for name in ("limit", "lock")
        ]
        own = ["t.ctid AS place"] if self._by_place else list(map(column, self.table.primary_key))
        parts: list[Part] = [
            sql("WITH leader AS MATERIALIZED (\nSELECT pg_catalog.pg_try_advisory_xact_lock("),
            param(lock),
            sql(f") AS mine\n), doomed AS MATERIALIZED (\nSELECT {', '.join(own)}, "),
            sql(f"{column(stamp)} AS stamp_\nFROM "),
            table_part(self.table.name),
            sql(" AS t\nWHERE (SELECT l.mine FROM leader AS l)"),
            sql(f"\n  AND {column(stamp)} >= "),
            param(_FROM),
            *terms,
            sql(f"\nORDER BY {column(stamp)}\nLIMIT "),
            param(limit),
            sql("\nFOR UPDATE OF t SKIP LOCKED\n), gone AS (\n"),
            *self._remove(terms, expires),
            sql("\nRETURNING " + (", ".join(map(column, keys)) or "1")),
            sql("\n)\nSELECT (SELECT l.mine FROM leader AS l) AS leader,\n"),
            sql("  (SELECT count(*) FROM doomed) AS claimed, count(*) AS gone,\n"),
            sql("  (SELECT max(d.stamp_) FROM doomed AS d) AS high"),
            *[
                sql(f",\n  coalesce(array_agg({column(name, 'g')})::text, '{{}}') AS key_{at}")
                for at, name in enumerate(keys)
            ],
            sql("\nFROM gone AS g"),
        ]
        rows = [
            _row("leader", "BOOL", "leader"),
            _row("claimed", "INT8", "claimed"),
            _row("gone", "INT8", "gone"),
            _row("high", self.stmts.types[stamp].gen, "high", nullable=True),
        ]
        rows += [_row(f"key_{at}", "TEXT", f"keys[{at}]") for at in range(len(keys))]
        return self._stmt(verb, parts, params, rows, "swept")

    def _remove(self, terms: Sequence[Part], expires: bool) -> list[Part]:
        """Up to RETURNING: by place, or by primary key."""
        hard = [sql("DELETE FROM "), table_part(self.table.name), sql(" AS t")]
        if self._by_place:
            where = "\nWHERE t.ctid = ANY (ARRAY(SELECT d.place FROM doomed AS d))"
            more_soft = more_hard = ""
        else:
            keys = self.table.primary_key
            where = "\nWHERE " + " AND ".join(f"{column(n)} = {column(n, 'd')}" for n in keys)
            more_soft, more_hard = "\nFROM doomed AS d", "\nUSING doomed AS d"
        hard.append(sql(more_hard))
        if not expires or not self.table.soft_delete:
            return [*hard, sql(where), *terms]
        stamp = f" AS t\nSET {self.policy.shared_stamp()}{more_soft}"
        update = [sql("UPDATE "), table_part(self.table.name), sql(stamp)]
        # Once more on the locked row: it may have been renewed since the list was made.
        return [IF_SOFT, *update, ELSE, *hard, END, sql(where), *terms]

    def _params(self, stamp: str, expires: bool) -> list[tuple[str, ...]]:
        """What claims and looks have in common."""
        from_ = _plain("from", self.stmts.types[stamp].gen, "offsetof(stele_gen_claim, from)")
        offset = "offsetof(stele_gen_claim, retention_ms)"
        return [from_] if expires else [from_, _plain("retention_ms", "STELE_GEN_INT8", offset)]

    def _oldest(self, verb: str, stamp: str, terms: Sequence[Part], expires: bool) -> Stmt:
        """The row a claim would begin with."""
        at = column(stamp)
        age = f"{now(self.stmts.columns[stamp])} - {at}"
        # No time has passed since minus infinity, as far as subtraction goes.
        milliseconds = f"(extract(epoch FROM {age}) * 1000)::int8"
        parts: list[Part] = [
            sql(f"SELECT {at} AS at,\n  CASE WHEN isfinite({at}) THEN {milliseconds} "),
            sql("ELSE 0 END AS age_ms\nFROM "),
            table_part(self.table.name),
            sql(f" AS t\nWHERE {at} >= "),
            param(_FROM),
            *terms,
            sql(f"\nORDER BY {at}\nLIMIT 1"),
        ]
        kind = self.stmts.types[stamp].gen
        rows = [_row("at", kind, "at"), _row("age_ms", "INT8", "age_ms")]
        return self._stmt(verb, parts, self._params(stamp, expires), rows, "oldest")

    # -- following --

    def _follow(self) -> Stmt:
        """Removes the rows that follow those a claim has removed, given their keys."""
        follows = self.table.follows
        assert follows is not None
        parent = next(one for one in self.module.tables if one.name == follows.table)
        places = [key_columns(self.module, parent).index(name) for name in follows.to]
        arrays: list[Part] = []
        for at, name in enumerate(follows.to):
            col = next(one for one in parent.columns if one.name == name)
            arrays += [sql(", " if at else "unnest("), param(at), sql("::")]
            if col.type.scalar is Scalar.ENUM:
                owner = col.type.enum_module
                enum = col.type.name if owner == self.module.name else f"{owner}.{col.type.name}"
                arrays += [table_part(enum), sql("[]")]
            else:
                arrays.append(sql(f"{catalog_type(col.type)}[]"))
        names = [f"key_{at}" for at in range(len(follows.to))]
        arrays.append(sql(f") AS k ({', '.join(names)})"))
        pairs = zip(follows.columns, names, strict=True)
        where = "\nWHERE " + "\n  AND ".join(
            f"{column(name)} = {column(key, 'k')}" for name, key in pairs
        )
        own = table_part(self.table.name)
        parts: list[Part] = [sql("DELETE FROM "), own, sql(" AS t\nUSING "), *arrays]
        if self.table.soft_delete:
            stamp = f" AS t\nSET {self.policy.shared_stamp()}\nFROM "
            parts = [IF_SOFT, sql("UPDATE "), own, sql(stamp), *arrays, ELSE, *parts, END]
        # What was deleted before waits for its purge.
        parts.append(sql(where + and_all(self.policy.writable())))
        params = [
            _plain(name, "STELE_GEN_TEXT", f"offsetof(stele_gen_swept, {at})")
            for name, at in zip(follows.columns, (f"keys[{n}]" for n in places), strict=True)
        ]
        return self._stmt("follow", parts, params, [], "")

    # -- partitions --

    def _partitions(self) -> Stmt:
        """Partitions whose rows have all expired, given for how long they must have."""
        ttl = self.stmts.columns[self.table.ttl]
        bound = "(regexp_match(pg_get_expr(c.relpartbound, c.oid), ' TO \\(''([^'']+)''\\)$'))[1]"
        default = "EXISTS (SELECT FROM pg_partitioned_table AS d\n"
        default += "    WHERE d.partrelid = p.oid AND d.partdefid <> 0) AS has_default"
        parts: list[Part] = [
            sql("SELECT format('%I.%I', q.nspname, p.relname) AS parent,\n"),
            sql("  format('%I.%I', n.nspname, c.relname) AS name,\n"),
            # PostgreSQL has the column since 14.
            sql("  coalesce((to_jsonb(i) ->> 'inhdetachpending')::bool, false) AS pending,\n"),
            sql(f"  {default}\nFROM pg_inherits AS i\n"),
            sql("JOIN pg_class AS c ON c.oid = i.inhrelid\n"),
            sql("JOIN pg_namespace AS n ON n.oid = c.relnamespace\n"),
            sql("JOIN pg_class AS p ON p.oid = i.inhparent\n"),
            sql("JOIN pg_namespace AS q ON q.oid = p.relnamespace\n"),
            sql("WHERE i.inhparent = '"),
            table_part(self.table.name),
            sql(f"'::regclass\n  AND {bound}::{catalog_type(ttl.type)} <= {now(ttl)} - "),
            param(0),
            sql(f"{_AGO}\nORDER BY c.relname"),
        ]
        params = [_plain("retention_ms", "STELE_GEN_INT8", "0")]
        rows = [_row(name, "TEXT", name) for name in ("parent", "name")]
        rows += [_row(name, "BOOL", name) for name in ("pending", "has_default")]
        return self._stmt("sweep_partitions", parts, params, rows, "partition", ("READ",))

    # -- building --

    def _stmt(
        self,
        verb: str,
        parts: Sequence[Part],
        params: Sequence[tuple[str, ...]],
        rows: Sequence[tuple[str, ...]],
        struct: str,
        properties: Sequence[str] = (),
    ) -> Stmt:
        name = f"{self.base}_{verb}"
        merged = merge(parts)
        arrays = []
        members: list[tuple[str, str]] = []
        if rows:
            full = [(*row[:3], row[3].format(struct=f"stele_gen_{struct}"), row[4]) for row in rows]
            arrays.append(rows_array("column", f"{name}_columns", full))
            members.append(("row_size", f"sizeof(stele_gen_{struct})"))
        arrays.append(rows_array("param", f"{name}_params", list(params)))
        arrays.append(parts_array(f"{name}_parts", merged))
        members.append(("shape_from", str(len(params))))
        kinds = list(properties)
        if verb.startswith("sweep_oldest"):
            kinds.append("READ")
        elif not self._by_place and verb.startswith("sweep"):
            kinds.append("CUSTOM_PLAN")  # the limit decides how the rows are found again
        if kinds:
            members.append(("properties", " | ".join(f"STELE_STMT_{kind}" for kind in kinds)))
        return Stmt(name, tuple(arrays), tuple(members), merged, tuple(params))


_AGO = " * interval '1 millisecond'"


def _row(name: str, kind: str, member: str, nullable: bool = False) -> tuple[str, ...]:
    gen = kind if kind.startswith("STELE_") else f"STELE_GEN_{kind}"
    offset = f"offsetof({{struct}}, {member})"
    return (f'"{name}"', gen, "true" if nullable else "false", offset, "NULL")


def _plain(name: str, kind: str, offset: str) -> tuple[str, ...]:
    return (f'"{name}"', kind, "STELE_GEN_PLAIN", "true", "0", offset, "0", "NULL")
