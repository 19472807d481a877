"""Statements that store many rows: their columns, their SQL, what the runtime must know of them.

The rows come as arrays, as a list of VALUES or from a temporary table that COPY filled; the runtime
chooses, and renders it in place of the part ROWS. There `u.c<n>` is the column of parameter n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stele.layout import doc_comment, prototype, statement
from stele.lower_stmt import Input, Statements, Stmt
from stele.lower_view import (
    ArrayView,
    BlockView,
    FunctionView,
    StmtView,
    parts_array,
    rows_array,
    too_wide,
)
from stele.model import Column, Index, Scalar, Type
from stele.names import sql_ident
from stele.policy import now
from stele.sql import (
    ELSE,
    END,
    LIST,
    Part,
    each,
    if_any,
    if_flag,
    if_no_flag,
    if_unset,
    item,
    merge,
    sql,
    table,
)

_TIMES = {Scalar.TIMESTAMP, Scalar.TIMESTAMPTZ}
_OWN_NAMES = {Scalar.ENUM, Scalar.OPAQUE}  # types that the client knows no number of


@dataclass(frozen=True, slots=True)
class BulkStmt:
    """The statement, the lists beside it, and the members of its stele_gen_bulk."""

    stmt: Stmt
    arrays: tuple[ArrayView, ...]
    members: tuple[tuple[str, str], ...]
    what: str  # what the function does

    def block(
        self, view: FunctionView, arrays: tuple[ArrayView, ...], stmts: tuple[StmtView, ...]
    ) -> BlockView:
        """The function's block: what the statement has, and what is beside it."""
        arrays = (*arrays, *self.arrays)
        stmts = (*stmts, StmtView("bulk", f"{self.stmt.name}_bulk", self.members))
        return BlockView(arrays, stmts, view, too_wide(arrays, stmts))


@dataclass(frozen=True, slots=True)
class _Column:
    """A parameter: the input it stands for, and whether it is a time after now."""

    source: int
    column: Column
    after: bool


def insert_many(stmts: Statements, module: str) -> BulkStmt:
    columns, _ = _columns(stmts.inputs, len(stmts.inputs))
    returning = [if_flag("RETURNING"), sql("\nRETURNING "), stmts.select(), END]
    skip = [if_flag("BULK_SKIP"), sql("\nON CONFLICT DO NOTHING"), END]
    parts = _or_copy(stmts, columns, [*_insert(stmts, module, columns), *skip, *returning])
    return _bulk(stmts, "insert_many", "insert", stmts.inputs, columns, parts)


def upsert_many(
    stmts: Statements, module: str, verb: str, keys: Sequence[str], index: Index | None
) -> BulkStmt:
    """`verb` is that of one row: upsert, or upsert_by_<unique>."""
    kept = {*keys, *stmts.table.primary_key, stmts.table.version}
    inputs = [one for one in stmts.inputs if one.column.name in kept]
    first = len(inputs)
    inputs += [one for one in stmts.inputs if one.column.name not in kept]
    columns, start = _columns(inputs, first)

    predicate = index.predicate if index else None
    target = ", ".join(sql_ident(name) for name in keys)
    terms = stmts.policy.index_predicate(predicate)
    condition = f" WHERE {' AND '.join(terms)}" if terms else ""
    parts = _insert(stmts, module, columns)
    if stmts.tells_inserted:
        parts = [if_no_flag("RETURNING"), sql("WITH w AS (\n"), END, *parts]
    parts += [sql(f"\nON CONFLICT ({target}){condition} DO UPDATE SET "), LIST]
    parts += _sets(stmts, columns, start, keys, index)
    parts += [if_flag("RETURNING"), sql("\nRETURNING "), stmts.select()]
    if stmts.tells_inserted:
        parts += [
            sql(", (t.xmax = 0) AS inserted"),
            ELSE,
            sql(
                "\nRETURNING (t.xmax = 0) AS inserted\n)\n"
                "SELECT count(*) FILTER (WHERE w.inserted)::text AS inserted,\n"
                "       count(*) FILTER (WHERE NOT w.inserted)::text AS updated\n"
                "FROM w"
            ),
        ]
    parts.append(END)
    many = verb.replace("upsert", "upsert_many", 1)
    found = _bulk(stmts, many, verb, inputs, columns, parts)
    place = {one.column.name: i for i, one in enumerate(inputs)}
    rows = [str(place[name]) for name in keys]
    name = f"{stmts.base}_{many}_unique"
    members = [("key", name), ("key_count", f"STELE_COUNT({name})")]
    deleted = stmts.table.soft_delete
    if predicate and predicate.not_deleted and deleted in place:
        members += [("deleted_param", str(place[deleted])), ("key_has_deleted", "true")]
    if index and index.nulls_not_distinct:
        members.append(("key_has_null", "true"))
    if predicate and predicate.sql:
        members.append(("key_is_partial", "true"))
    if stmts.tells_inserted:
        members.append(("tells_inserted", "true"))
    arrays = (*found.arrays, _numbers(name, rows))
    return BulkStmt(found.stmt, arrays, (*found.members, *members), found.what)


def bulk_function(bulk: BulkStmt, base: str, row: str) -> FunctionView:
    """The function that runs one of these."""
    full = bulk.stmt.name
    params = [
        "stele_conn *conn",
        f"const {base}_input *rows",
        "size_t count",
        "const stele_bulk_options *options",
        "stele_bulk_report *ret_report",
        f"{row} **ret_rows",
        "stele_error *err",
    ]
    notes = [
        ("NULL", "`options`, `ret_report` and `ret_rows` may be NULL."),
        ("Owns", f"the caller: {row}_free(*ret_rows), `count` rows as the inputs stood."),
        ("Errors", "of the first bad row, its index in the message and the report."),
    ]
    return FunctionView(
        kind="bulk",
        doc=doc_comment(bulk.what, notes),
        head=prototype("STELE_MUST_CHECK stele_status", full, params, ";"),
        define=prototype("stele_status", full, params, ""),
        setup=(statement("const stele_gen_bulk *bulk", f"&{full}_bulk"),),
        call="stele_gen_insert_many(conn, bulk, rows, count, options, ret_report, give, err);",
    )


# ---- columns ----


def _columns(inputs: Sequence[Input], first: int) -> tuple[list[_Column], int]:
    """The parameters, and where those of the inputs from `first` on begin."""
    out: list[_Column] = []
    start = 0
    for low, high in ((0, first), (first, len(inputs))):
        start = len(out)
        out += [_Column(i, inputs[i].column, False) for i in range(low, high)]
        out += [
            _Column(i, inputs[i].column, True)
            for i in range(low, high)
            if inputs[i].column.type.scalar in _TIMES and not inputs[i].column.type.array
        ]
    return out, start


def _wire(stmts: Statements, one: _Column) -> str:
    """The type of a parameter's array; of an array in each row, that itself."""
    kind = one.column.type
    if one.after:
        return "STELE_GEN_INTERVAL | STELE_GEN_ARRAY"
    if kind.scalar in _OWN_NAMES:
        return "STELE_GEN_TEXT" if kind.array else "STELE_GEN_TEXT | STELE_GEN_ARRAY"
    gen = stmts.types[one.column.name].gen
    return gen if kind.array else f"{gen} | STELE_GEN_ARRAY"


def _cast(kind: Type, module: str) -> list[Part]:
    """The name of a type that came as text."""
    brackets = [sql("[]")] if kind.array else []
    if kind.scalar is Scalar.OPAQUE:
        return [sql(kind.name), *brackets]
    own = kind.enum_module in ("", module)
    return [table(kind.name if own else f"{kind.enum_module}.{kind.name}"), *brackets]


def _values(module: str, columns: Sequence[_Column]) -> list[Part]:
    """What is inserted, as items of a list."""
    out: list[Part] = []
    run = 0
    for i, one in enumerate(columns):
        casts = one.column.type.scalar in _OWN_NAMES
        if not (one.after or casts):
            continue
        if run < i:
            out.append(_each_row(run, i))
        run = i + 1
        out.append(_if_set(i))
        if one.after:
            out.append(item(f"({now(one.column)} + u.c{i})"))
        else:
            out += [item(f"u.c{i}::"), *_cast(one.column.type, module)]
        out.append(END)
    if run < len(columns):
        out.append(_each_row(run, len(columns)))
    return out


def _each_row(start: int, end: int) -> Part:
    return each("ROW", start, end)


def _if_set(index: int) -> Part:
    return Part("IF_SET", (index,))


def _unless_set(columns: Sequence[_Column], name: str, body: list[Part]) -> list[Part]:
    """`body` where a column is given neither a value nor a time after now."""
    places = [i for i, one in enumerate(columns) if one.column.name == name]
    return [*(if_unset(i) for i in places), *body, *(END for _ in places)]


# ---- SQL ----


def _stamps(stmts: Statements, columns: Sequence[_Column]) -> list[tuple[Column, str]]:
    """Columns that get a value of ours when they are unset."""
    return [
        (one.column, stmts.policy.insert_value(one.column))
        for one in columns
        if not one.after and stmts.policy.insert_value(one.column)
    ]


def _insert(stmts: Statements, module: str, columns: Sequence[_Column]) -> list[Part]:
    """Up to the rows."""
    count = len(columns)
    stamps = _stamps(stmts, columns)
    names: list[Part] = [LIST, each("NAME", 0, count)]
    values: list[Part] = [LIST, *_values(module, columns)]
    for col, value in stamps:
        names += _unless_set(columns, col.name, [item(sql_ident(col.name))])
        values += _unless_set(columns, col.name, [item(value)])
    head: list[Part] = [sql("INSERT INTO "), table(stmts.table.name), sql(" AS t")]
    listed: list[Part] = [sql(" ("), *names, sql(")")]
    if not stamps and not any(stmts.required(one.column) for one in columns):
        listed = [if_any(0, count), *listed, END]
    return [
        *head,
        *listed,
        sql("\nSELECT "),
        *values,
        sql("\nFROM "),
        Part("ROWS", (count,)),
        if_flag("RETURNING"),
        sql("\nORDER BY u.n"),
        END,
    ]


def _sets(
    stmts: Statements,
    columns: Sequence[_Column],
    start: int,
    keys: Sequence[str],
    index: Index | None,
) -> list[Part]:
    """What a row that is there gets."""
    policy = stmts.policy
    count = len(columns)
    others = {one.column.name for one in columns[start:]}
    sets: list[Part] = [each("EXCLUDED", start, count)] if count > start else []
    always = False
    for name, stamp in (
        (stmts.table.touch, policy.touch_stamp()),
        (stmts.table.ttl, policy.revive_ttl()),
        (stmts.table.soft_delete, policy.revive_deleted(index.predicate if index else None)),
    ):
        if stamp and name in others:
            sets += _unless_set(columns, name, [item(stamp)])
            always = True
    if policy.version_stamp():
        sets.append(item(policy.version_stamp()))
        always = True
    if always:
        return sets
    same = item(f"{sql_ident(keys[0])} = EXCLUDED.{sql_ident(keys[0])}")
    return [if_any(start, count), *sets, ELSE, same, END] if sets else [same]


def _or_copy(stmts: Statements, columns: Sequence[_Column], parts: Sequence[Part]) -> list[Part]:
    """The statement, or the COPY that needs none."""
    return [
        if_flag("BULK_COPY"),
        sql("COPY "),
        table(stmts.table.name),
        sql(" ("),
        LIST,
        each("NAME", 0, len(columns)),
        sql(") FROM STDIN (FORMAT binary)"),
        ELSE,
        *parts,
        END,
    ]


# ---- descriptors ----


def _param(stmts: Statements, i: int, one: _Column) -> tuple[str, ...]:
    return (
        f'"{one.column.name}"',
        _wire(stmts, one),
        "STELE_GEN_IN",
        "false",
        "0",
        f"STELE_BULK_COLUMN({i})",
        str(one.source),
        "NULL",
    )


def _needs_stage(kind: Type) -> bool:
    """Whether COPY cannot write the column: its bytes would name another type than its own."""
    if kind.scalar is Scalar.OPAQUE:
        return True
    return kind.array and kind.scalar in (Scalar.ENUM, Scalar.VARCHAR)


def _bulk(
    stmts: Statements,
    verb: str,
    single: str,
    inputs: Sequence[Input],
    columns: Sequence[_Column],
    parts: Sequence[Part],
) -> BulkStmt:
    params = [_param(stmts, i, one) for i, one in enumerate(columns)]
    base = stmts.base
    name = f"{base}_{verb}"
    merged = merge(parts)
    lists = (rows_array("param", f"{name}_params", params), parts_array(f"{name}_parts", merged))
    stmt = Stmt(name, lists, (("shape_from", "0"),), merged, tuple(params))
    arrays: list[ArrayView] = []
    members = [
        ("single", f"&{base}_{single}_stmt"),
        ("many", f"&{name}_stmt"),
        ("input_size", f"sizeof({base}_input)"),
        ("row_size", f"sizeof({stmts.row})"),
    ]
    staged = [str(i) for i, one in enumerate(columns) if _needs_stage(one.column.type)]
    stamped = [str(i) for i, one in enumerate(inputs) if stmts.policy.insert_value(one.column)]
    for which, rows in (("staged", staged), ("stamped", stamped)):
        if rows:
            full = f"{name}_{which}"
            arrays.append(_numbers(full, rows))
            members += [(which, full), (f"{which}_count", f"STELE_COUNT({full})")]
    what = "Inserts many rows" if single == "insert" else f"{base}_{single}() for many rows"
    return BulkStmt(stmt, tuple(arrays), tuple(members), f"{what}; see stele/bulk.h.")


def _numbers(name: str, rows: Sequence[str]) -> ArrayView:
    return ArrayView("uint16_t", name, tuple(f"    {row}," for row in rows))
