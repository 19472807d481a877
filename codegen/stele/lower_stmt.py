"""The statements of one table: their parameters, their SQL and what they return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from stele.layout import LITERAL_MAX, c_string, literal_lines
from stele.lower_list import ListPlan, keyset, ordering, plans
from stele.lower_types import CType, modifier, select_item
from stele.lower_view import ArrayView, parts_array, rows_array
from stele.model import Column, Identity, Index, Table
from stele.names import c_ident, sql_ident
from stele.policy import Policy
from stele.sql import (
    ELSE,
    END,
    IF_SOFT,
    LIST,
    Part,
    and_all,
    column,
    each,
    if_any,
    if_flag,
    if_no_flag,
    if_unset,
    item,
    merge,
    param,
    shared,
    sql,
    table,
    where,
)


@dataclass(frozen=True, slots=True)
class Input:
    """A member of an input, patch or filter struct, and the parameter it becomes."""

    column: Column
    member: str
    struct: str
    operator: str  # EQ, GE, LT
    nullable: bool


@dataclass(frozen=True, slots=True)
class Key:
    """How a function takes a key: its C parameter, its element of args[], where columns lie."""

    columns: tuple[str, ...]
    param: str
    arg: str
    offsets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stmt:
    name: str
    arrays: tuple[ArrayView, ...]  # parts, params, columns
    members: tuple[tuple[str, str], ...]  # of the descriptor, beside the arrays
    parts: tuple[Part, ...]
    params: tuple[tuple[str, ...], ...]


@dataclass(slots=True)
class Statements:
    """Makes the statements of a table."""

    table: Table
    base: str
    types: dict[str, CType]
    row: str
    inputs: tuple[Input, ...]
    patch: tuple[Input, ...]
    filters: tuple[Input, ...]
    row_stmt: str = ""  # the first statement that returns rows
    used: set[str] = field(default_factory=set)
    policy: Policy = field(init=False)
    columns: dict[str, Column] = field(init=False)

    def __post_init__(self) -> None:
        self.policy = Policy(self.table)
        self.columns = {col.name: col for col in self.table.columns}

    # -- facts --

    @property
    def scopes(self) -> tuple[tuple[str, str], ...]:
        """Members of the filter that widen what it sees: (member, suffix of the flag)."""
        out = []
        if self.table.soft_delete:
            out.append(("deleted", "DELETED"))
        if self.table.ttl:
            out.append(("expired", "EXPIRED"))
        return tuple(out)

    @property
    def live_word(self) -> str:
        return "live " if self.scopes else ""

    @property
    def tells_inserted(self) -> bool:
        """Whether an upsert can tell an insert from an update: not where rows lie in partitions.

        Only a table with rows of its own shows the system column that tells.
        """
        return self.table.partition_by is None

    def required(self, col: Column) -> bool:
        """Whether an insert must have a value from the caller."""
        return not (
            col.nullable
            or col.default
            or col.generated
            or col.identity is not Identity.NONE
            or self.policy.insert_value(col)
        )

    def lists(self) -> tuple[ListPlan, ...]:
        return plans(self.table)

    # -- shared texts --

    def select(self) -> Part:
        """The columns of a row."""
        text = ", ".join(select_item(col) for col in self.table.columns)
        if len(text) > LITERAL_MAX:
            return sql(text)
        self.used.add("select")
        return shared(f"{self.base}_select")

    def _live(self) -> list[Part]:
        if not self.policy.live():
            return []
        self.used.add("live")
        return [shared(f"{self.base}_live")]

    def shared_texts(self) -> dict[str, str]:
        """What the shared constants hold, by name."""
        texts = {
            "select": ", ".join(select_item(col) for col in self.table.columns),
            "live": and_all(self.policy.live()),
        }
        return {f"{self.base}_{key}": text for key, text in texts.items() if key in self.used}

    def constants(self) -> tuple[str, ...]:
        """The same as definitions."""
        return tuple(_constant(name, text) for name, text in self.shared_texts().items())

    # -- parameters --

    def _param(
        self,
        name: str,
        form: str,
        arg: int,
        offset: str,
        required: bool,
    ) -> tuple[str, ...]:
        col = self.columns[name]
        ctype = self.types[name]
        labels = f"&{ctype.enum}_labels" if ctype.enum else "NULL"
        return (
            f'"{name}"',
            ctype.gen,
            f"STELE_GEN_{form}",
            "true" if required else "false",
            str(arg),
            offset,
            modifier(col.type),
            labels,
        )

    def _key_params(self, key: Key, arg: int = 0) -> list[tuple[str, ...]]:
        return [
            self._param(name, "PLAIN", arg, offset, True)
            for name, offset in zip(key.columns, key.offsets, strict=True)
        ]

    def _input_params(
        self, inputs: Sequence[Input], arg: int, inserting: bool = False
    ) -> list[tuple[str, ...]]:
        return [
            self._param(
                one.column.name,
                "IN_N" if one.nullable else "IN",
                arg,
                f"offsetof({one.struct}, {one.member})",
                inserting and self.required(one.column),
            )
            for one in inputs
        ]

    def _limit(self, arg: int) -> tuple[str, ...]:
        return ('"limit"', "STELE_GEN_INT8", "STELE_GEN_PLAIN", "true", str(arg), "0", "0", "NULL")

    # -- building --

    def _row_columns(self, struct: str, member: str = "") -> list[tuple[str, ...]]:
        out: list[tuple[str, ...]] = []
        for col in self.table.columns:
            ctype = self.types[col.name]
            out.append(
                (
                    f'"{col.name}"',
                    ctype.gen,
                    "true" if col.nullable else "false",
                    f"offsetof({struct}, {member}{c_ident(col.name)})",
                    f"&{ctype.enum}_labels" if ctype.enum else "NULL",
                )
            )
        return out

    def _stmt(
        self,
        verb: str,
        parts: Sequence[Part],
        params: Sequence[tuple[str, ...]],
        shape_from: int,
        returns: str = "",  # row, upserted, count, exists
        properties: Sequence[str] = (),
        extra: Sequence[tuple[str, str]] = (),
    ) -> Stmt:
        name = f"{self.base}_{verb}"
        arrays = []
        members: list[tuple[str, str]] = []
        if returns == "row":
            arrays.append(rows_array("column", f"{self.base}_columns", self._row_columns(self.row)))
            members.append(("row_size", f"sizeof({self.row})"))
            self.row_stmt = self.row_stmt or name
        elif returns == "upserted":
            struct = f"{self.base}_upserted"
            rows = self._row_columns(struct, "row.")
            rows.append(
                ('"inserted"', "STELE_GEN_BOOL", "false", f"offsetof({struct}, inserted)", "NULL")
            )
            arrays.append(rows_array("column", f"{struct}_columns", rows))
            members.append(("row_size", f"sizeof({struct})"))
        elif returns:
            kind, size = {"count": ("INT8", "int64_t"), "exists": ("BOOL", "bool")}[returns]
            rows = [(f'"{returns}"', f"STELE_GEN_{kind}", "false", "0", "NULL")]
            arrays.append(rows_array("column", f"{name}_columns", rows))
            members.append(("row_size", f"sizeof({size})"))
        if params:
            arrays.append(rows_array("param", f"{name}_params", list(params)))
        merged = merge(parts)
        arrays.append(parts_array(f"{name}_parts", merged))
        members.append(("shape_from", str(shape_from)))
        if properties:
            members.append(("properties", " | ".join(f"STELE_STMT_{p}" for p in properties)))
        return Stmt(name, tuple(arrays), tuple([*members, *extra]), merged, tuple(params))

    def _from(self) -> list[Part]:
        return [sql("\nFROM "), table(self.table.name), sql(" AS t")]

    def _where_key(self, columns: Sequence[str], first: int = 0) -> list[Part]:
        out: list[Part] = []
        for i, name in enumerate(columns):
            lead = "\n  AND" if i else "\nWHERE"
            out.append(sql(f"{lead} {column(name)} = "))
            out.append(param(first + i))
        return out

    def _returning(self, more: str = "") -> list[Part]:
        out = [if_flag("RETURNING"), sql("\nRETURNING "), self.select()]
        return [*out, *([sql(more)] if more else []), END]

    # -- finding --

    def find(self, key: Key) -> Stmt:
        parts = [sql("SELECT "), self.select(), *self._from(), *self._where_key(key.columns)]
        parts += self._live()
        params = self._key_params(key)
        return self._stmt("find", parts, params, len(params), "row", ["READ"])

    def find_for_update(self, key: Key, verb: str, clause: str) -> Stmt:
        parts = [sql("SELECT "), self.select(), *self._from(), *self._where_key(key.columns)]
        parts += [*self._live(), sql(f"\nFOR UPDATE{clause}")]
        params = self._key_params(key)
        properties = ["LOCKS_NOWAIT"] if "NOWAIT" in clause else []
        return self._stmt(verb, parts, params, len(params), "row", properties)

    def find_by(self, key: Key, index: Index) -> Stmt:
        parts = [sql("SELECT "), self.select(), *self._from(), *self._where_key(key.columns)]
        # `live` repeats the policy's share of the index predicate; the rest is the author's.
        own = self.policy.index_predicate(index.predicate, "t")
        rest = [term for term in own if term not in self.policy.live()]
        parts += [*self._live(), sql(and_all(rest))]
        params = self._key_params(key)
        return self._stmt(f"find_by_{index.key}", parts, params, len(params), "row", ["READ"])

    # -- lists --

    def _scope_parts(self, lead: str) -> tuple[list[Part], str]:
        """The scopes as conditions; `lead` stands before the first, and AND before all others."""
        out: list[Part] = []
        predicates = (
            ("DELETED", self.policy.not_deleted(), self.policy.deleted()),
            ("EXPIRED", self.policy.not_expired(), self.policy.expired()),
        )
        for flag, normal, only in predicates:
            if not normal:
                continue
            out += [
                if_no_flag(f"WITH_{flag}", f"ONLY_{flag}"),
                sql(f"{lead}{normal}"),
                END,
                if_flag(f"ONLY_{flag}"),
                sql(f"{lead}{only}"),
                END,
            ]
            if "WHERE" in lead:
                out += [if_flag(f"WITH_{flag}"), sql(f"{lead}true"), END]
            lead = "\n  AND "
        return out, lead

    def _filter_parts(self, first: int) -> list[Part]:
        return [
            where(one.operator, first + i, column(one.column.name))
            for i, one in enumerate(self.filters)
        ]

    def page(self, plan: ListPlan, key: Key | None) -> tuple[Stmt, tuple[int, int]]:
        """A paged list, and the range of its parameters that resume it."""
        params = self._key_params(key) if key else []
        resume = len(params)
        for name, _ in plan.order:
            col = self.columns[name]
            form = "OPT" if col.nullable and self.types[name].wrapped else "PLAIN"
            offset = f"offsetof({self.row}, {c_ident(name)})"
            params.append(self._param(name, form, 2, offset, True))
        limit = len(params)
        params.append(self._limit(3))
        inputs = len(params)
        params += self._input_params(self.filters, 1)

        after = keyset(plan.order, resume)
        fixed = self.policy.index_predicate(plan.where, "t")
        parts: list[Part] = [sql("SELECT "), self.select(), *self._from()]
        if key:
            parts += [*self._where_key(key.columns), sql(and_all(fixed))]
        elif fixed:
            parts.append(sql("\nWHERE " + "\n  AND ".join(fixed)))
        if key or fixed or self.scopes:
            lead = "\n  AND " if key or fixed else "\nWHERE "
            # A list whose predicate excludes deleted rows shows none, whatever the filter says.
            scopes, _ = self._scope_parts(lead)
            parts += [*scopes, if_flag("RESUME"), sql("\n  AND "), *after, END]
        else:
            parts += [if_flag("RESUME"), sql("\nWHERE "), *after]
            if self.filters:
                parts += [ELSE, if_any(inputs, len(params)), sql("\nWHERE true"), END]
            parts.append(END)
        parts += self._filter_parts(inputs)
        parts += [sql(f"\nORDER BY {ordering(plan.order)}\nLIMIT "), param(limit)]
        stmt = self._stmt(f"list_by_{plan.name}", parts, params, inputs, "row", ["READ"])
        return stmt, (resume, limit)

    def _filtered(self) -> list[Part]:
        """FROM and WHERE: the scopes, and the filter as the only input."""
        scopes, _ = self._scope_parts("\nWHERE ")
        parts = [*self._from(), *scopes]
        if not scopes and self.filters:
            parts += [if_any(0, len(self.filters)), sql("\nWHERE true"), END]
        return [*parts, *self._filter_parts(0)]

    def iter(self) -> Stmt:
        parts = [sql("SELECT "), self.select(), *self._filtered()]
        keys = ", ".join(column(name) for name in self.table.primary_key)
        parts.append(sql(f"\nORDER BY {keys}"))
        return self._stmt("iter", parts, self._input_params(self.filters, 0), 0, "row", ["READ"])

    def aggregate(self, verb: str) -> Stmt:
        """count or exists."""
        head = "SELECT count(*) AS count" if verb == "count" else "SELECT EXISTS (SELECT"
        parts = [sql(head), *self._filtered()]
        if verb == "exists":
            parts.append(sql(") AS exists"))
        return self._stmt(verb, parts, self._input_params(self.filters, 0), 0, verb, ["READ"])

    # -- writing --

    def _insert_parts(self, inputs: Sequence[Input]) -> list[Part]:
        """Up to the end of VALUES."""
        count = len(inputs)
        stamped = [
            (i, one.column, self.policy.insert_value(one.column))
            for i, one in enumerate(inputs)
            if self.policy.insert_value(one.column)
        ]
        names: list[Part] = [LIST, each("NAME", 0, count)]
        values: list[Part] = [LIST, each("VALUE", 0, count)]
        for i, col, value in stamped:
            names += [if_unset(i), item(sql_ident(col.name)), END]
            values += [if_unset(i), item(value), END]
        head: list[Part] = [sql("INSERT INTO "), table(self.table.name), sql(" AS t ")]
        if not inputs:
            return [*head, sql("DEFAULT VALUES")]
        body = [sql("("), *names, sql(")\nVALUES ("), *values, sql(")")]
        if stamped or any(self.required(one.column) for one in inputs):
            return [*head, *body]
        return [*head, if_any(0, count), *body, ELSE, sql("DEFAULT VALUES"), END]

    def insert(self) -> Stmt:
        parts = [*self._insert_parts(self.inputs), *self._returning()]
        return self._stmt("insert", parts, self._input_params(self.inputs, 0, True), 0, "row")

    def upsert(self, verb: str, columns: Sequence[str], index: Index | None) -> Stmt:
        kept = {*columns, *self.table.primary_key, self.table.version}
        inputs = [one for one in self.inputs if one.column.name in kept]
        first = len(inputs)
        inputs += [one for one in self.inputs if one.column.name not in kept]
        count = len(inputs)
        place = {one.column.name: i for i, one in enumerate(inputs)}

        predicate = index.predicate if index else None
        target = ", ".join(sql_ident(name) for name in columns)
        terms = self.policy.index_predicate(predicate)
        condition = f" WHERE {' AND '.join(terms)}" if terms else ""
        sets: list[Part] = [each("EXCLUDED", first, count)] if count > first else []
        always = False
        for name, stamp in (
            (self.table.touch, self.policy.touch_stamp()),
            (self.table.ttl, self.policy.revive_ttl()),
            (self.table.soft_delete, self.policy.revive_deleted(predicate)),
        ):
            if stamp and place.get(name, -1) >= first:
                sets += [if_unset(place[name]), item(stamp), END]
                always = True
        if self.policy.version_stamp():
            sets.append(item(self.policy.version_stamp()))
            always = True
        if not always:
            same = item(f"{sql_ident(columns[0])} = EXCLUDED.{sql_ident(columns[0])}")
            sets = [if_any(first, count), *sets, ELSE, same, END] if sets else [same]

        parts = self._insert_parts(inputs)
        parts += [sql(f"\nON CONFLICT ({target}){condition} DO UPDATE SET "), LIST, *sets]
        more = ", (t.xmax = 0) AS inserted" if self.tells_inserted else ""
        parts += self._returning(more)
        params = self._input_params(inputs, 0, True)
        return self._stmt(verb, parts, params, 0, "upserted" if more else "row")

    def update(self, key: Key) -> Stmt:
        params = self._key_params(key)
        first = len(params)
        params += self._input_params(self.patch, 1)
        end = len(params)
        place = {one.column.name: first + i for i, one in enumerate(self.patch)}

        parts: list[Part] = [sql("UPDATE "), table(self.table.name), sql(" AS t\nSET "), LIST]
        parts.append(each("SET", first, end))
        touch = self.policy.touch_stamp()
        if touch and self.table.touch in place:
            parts += [if_unset(place[self.table.touch]), item(touch), END]
        if self.policy.version_stamp():
            parts.append(item(self.policy.version_stamp()))
        parts += [*self._where_key(key.columns), sql(and_all(self.policy.writable()))]
        properties = ["NEEDS_SET"]
        extra = [("set_from", str(first)), ("set_to", str(end))]
        if self.table.version:
            params.append(
                (
                    f'"{self.table.version}"',
                    "STELE_GEN_INT8",
                    "STELE_GEN_IN",
                    "false",
                    "1",
                    f"offsetof({self.base}_patch, if_version)",
                    "0",
                    "NULL",
                )
            )
            parts.append(where("EQ", end, column(self.table.version)))
            properties.append("VERSION")
            extra.append(("version_param", str(end)))
        parts += self._returning()
        return self._stmt("update", parts, params, first, "row", properties, extra)

    def delete(self, key: Key) -> Stmt:
        parts = [*self._soft_or_hard(" AS t"), *self._where_key(key.columns)]
        parts.append(sql(and_all(self.policy.writable())))
        params = self._key_params(key)
        return self._stmt("delete", parts, params, len(params))

    def _soft_or_hard(self, alias: str, more_soft: str = "", more_hard: str = "") -> list[Part]:
        name = self.table.name
        hard = [sql("DELETE FROM "), table(name), sql(alias + more_hard)]
        if not self.table.soft_delete:
            return hard
        stamp = f"{alias}\nSET {self.policy.soft_stamp()}{more_soft}"
        return [IF_SOFT, sql("UPDATE "), table(name), sql(stamp), ELSE, *hard, END]

    def restore(self, key: Key) -> Stmt:
        set_ = f" AS t\nSET {self.policy.restore_stamp()}"
        parts = [sql("UPDATE "), table(self.table.name), sql(set_)]
        parts += [*self._where_key(key.columns), sql(and_all([self.policy.deleted()]))]
        params = self._key_params(key)
        return self._stmt("restore", parts, params, len(params))

    def hard_delete(self, key: Key) -> Stmt:
        parts = [sql("DELETE FROM "), table(self.table.name), sql(" AS t")]
        parts += self._where_key(key.columns)
        params = self._key_params(key)
        return self._stmt("hard_delete", parts, params, len(params))

    # -- sweeping --

    def _doomed(self, predicates: list[Part], order: str, limit: int) -> list[Part]:
        keys = ", ".join(column(name) for name in self.table.primary_key)
        return [
            sql(f"WITH doomed AS MATERIALIZED (\n    SELECT {keys}\n    FROM "),
            table(self.table.name),
            sql(" AS t\n    WHERE "),
            *predicates,
            sql(f"\n    ORDER BY {column(order)}\n    LIMIT "),
            param(limit),
            sql("\n    FOR UPDATE SKIP LOCKED\n)\n"),
        ]

    def _join(self) -> str:
        return " AND ".join(
            f"{column(name)} = {column(name, 'd')}" for name in self.table.primary_key
        )

    def expire(self) -> Stmt:
        terms = [self.policy.expired(), *self.policy.writable()]
        parts = self._doomed([sql("\n      AND ".join(terms))], self.table.ttl, 0)
        parts += self._soft_or_hard(" AS t", "\nFROM doomed AS d", "\nUSING doomed AS d")
        # Once more on the locked row: it may have been renewed since the list was made.
        parts.append(sql(f"\nWHERE {self._join()}{and_all(terms)}"))
        return self._stmt("expire", parts, [self._limit(0)], 1)

    def purge(self) -> Stmt:
        name = self.table.soft_delete
        before = [sql(f"{column(name)} < "), param(0)]
        parts = self._doomed(before, name, 1)
        parts += [sql("DELETE FROM "), table(self.table.name), sql(" AS t\nUSING doomed AS d\n")]
        parts += [sql(f"WHERE {self._join()}\n  AND "), *before]
        params = [self._param(name, "PLAIN", 0, "0", True), self._limit(1)]
        return self._stmt("purge", parts, params, 2)


def _constant(name: str, text: str) -> str:
    """A text that several statements share."""
    head = f"static const char {name}[] ="
    whole = f"{head} {c_string(text)};"
    if len(whole) <= 100 and text.count("\n") <= 1 and not text.rstrip("\n").count("\n") > 1:
        return whole
    lines = literal_lines(text, 96, 1)
    between = "\n" + " " * (len(head) + 1)
    aligned = f"{head} {between.join(lines)};"
    if all(len(line) <= 100 for line in aligned.split("\n")):
        return aligned
    return head + "".join(f"\n    {line}" for line in lines) + ";"
