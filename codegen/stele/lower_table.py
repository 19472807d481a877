"""One table → its types and functions.

Statements come from lower_stmt; this module says which functions a table has, and what their
structs, signatures and comments are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stele.layout import COLUMNS, doc_comment, prototype, statement
from stele.lower_bulk import BulkStmt, bulk_function, insert_many, upsert_many
from stele.lower_jobs import job_descriptor, job_functions, job_statements
from stele.lower_queue import is_queued, iterator, queue_function
from stele.lower_stmt import Key, Statements, Stmt
from stele.lower_struct import Structs, heading, inline, opaque
from stele.lower_sweep import Sweeps
from stele.lower_view import (
    ArrayView,
    BlockView,
    FunctionView,
    ScopeView,
    StmtView,
    StructView,
    TableView,
    too_wide,
)
from stele.model import Identity, Index, Module, Table

_CONN = "stele_conn *conn"
_ERR = "stele_error *err"
_RUN = "return stele_gen_write(conn, {d}, args, 0, err);"
_GIVE = "st = stele_gen_one(conn, {d}, args, STELE_FLAG_RETURNING, &row, err);"


@dataclass(frozen=True, slots=True)
class TableResult:
    """The views, and what the module's constant refers to."""

    view: TableView
    sweeps: tuple[tuple[str, str], ...]  # members of the table's descriptor that name statements
    stmts: tuple[Stmt, ...]


class TableLowering:
    """Collects the views of one table."""

    def __init__(self, table: Table, module: Module, c_prefixes: dict[str, str]) -> None:
        self.table = table
        self.own_module = module
        self.base = module.c_prefix + table.name
        self.module = f"{module.c_prefix}{module.name}_module"
        self.module_name = module.name
        self.row = f"{self.base}_row"
        self.columns = {col.name: col for col in table.columns}
        self.structs = Structs(table, module, c_prefixes)
        self.inputs = self.structs.inputs()
        self.patch = self.structs.patch()
        self.filters = self.structs.filters()
        self.key = (
            self.structs.key("", table.primary_key, "Primary key.") if table.primary_key else None
        )
        self.stmts = Statements(
            table=table,
            base=self.base,
            types=self.structs.types,
            row=self.row,
            inputs=self.inputs,
            patch=self.patch,
            filters=self.filters,
        )
        self.functions: list[FunctionView] = []
        self.blocks: list[BlockView] = []
        self.made: list[Stmt] = []
        self.seen: dict[tuple[str, tuple[str, ...]], str] = {}

    # -- functions --

    def _function(
        self,
        kind: str,
        name: str,
        params: Sequence[str],
        doc: str,
        call: str,
        *,
        stmt: Stmt | None = None,
        descriptor: str = "",
        without: str = "",
        args: Sequence[str] = (),
        setup: Sequence[str] = (),
        filtered: bool = False,
        extra: Sequence[StmtView] = (),
    ) -> None:
        """Adds a function; `call` has {d} where the address of the descriptor goes."""
        full = f"{self.base}_{name}"
        all_params = [*params, _ERR]
        descriptor = descriptor or f"&{full}_stmt"
        default = []
        if filtered:
            default.append("    if (filter == NULL)")
            default.append(statement("filter", f"&{self.base}_no_filter", 2))
        given = [f"    {line}" for line in setup]
        if args:
            given.append(f"    const void *args[] = {{{', '.join(args)}}};")
        if filtered and self.stmts.scopes:
            given.append(statement("uint32_t flags", f"{self.base}_scope(filter)"))
        local = []
        where = descriptor
        if len(call.format(d=descriptor)) > 96 or len(without.format(d=descriptor)) > 92:
            where = "list" if descriptor.endswith("_list") else "stmt"
            local.append(statement(f"const stele_gen_{where} *{where}", descriptor))
        view = FunctionView(
            kind=kind,
            doc=doc,
            head=prototype("STELE_MUST_CHECK stele_status", full, all_params, ";"),
            define=prototype("stele_status", full, all_params, ""),
            setup=(*default, *local, *given),
            call=call.format(d=where),
            without=without.format(d=where),
            result=f"{self.base}_page",
            upserted=statement(f"const {self.base}_upserted *upserted", "row"),
        )
        self.functions.append(view)
        arrays, stmts = self._describe(stmt) if stmt else ((), ())
        stmts = (*stmts, *extra)
        self.blocks.append(BlockView(arrays, stmts, view, too_wide(arrays, stmts)))
        if is_queued(kind):
            lines = [*default, *given]
            flags = "flags" if filtered and self.stmts.scopes else "0"
            upserted = f"{self.base}_upserted"
            queue = queue_function(kind, full, all_params, lines, descriptor, flags, upserted)
            self.functions.append(queue)
            self.blocks.append(BlockView((), (), queue, False))

    def _describe(self, stmt: Stmt) -> tuple[tuple[ArrayView, ...], tuple[StmtView, ...]]:
        """A statement's arrays, those not yet there, and its descriptor."""
        self.made.append(stmt)
        arrays: list[ArrayView] = []
        names: dict[str, str] = {}
        for array in stmt.arrays:
            known = self.seen.get((array.kind, array.rows))
            if known is None:
                known = self.seen[(array.kind, array.rows)] = array.name
                arrays.append(array)
            names[array.kind] = known
        members: list[tuple[str, str]] = [
            ("module", f"&{self.module}"),
            ("name", f'"{stmt.name}"'),
            ("table", f'"{self.table.name}"'),
        ]
        for kind in ("part", "param", "column"):
            if f"stele_gen_{kind}" in names:
                array_name = names[f"stele_gen_{kind}"]
                members.append((f"{kind}s", array_name))
                members.append((f"{kind}_count", f"STELE_COUNT({array_name})"))
        members += stmt.members
        return tuple(arrays), (StmtView("stmt", f"{stmt.name}_stmt", tuple(members)),)

    def _find(self, name: str, stmt: Stmt, key: Key, what: str, errors: str) -> None:
        notes = [("Owns", f"the caller, on success: {self.row}_free()."), ("Errors", errors)]
        self._function(
            "one",
            name,
            [_CONN, key.param, f"{self.row} **ret_row"],
            doc_comment(what, notes),
            "stele_status st = stele_gen_one(conn, {d}, args, 0, &row, err);",
            stmt=stmt,
            args=[key.arg],
        )

    def _finds(self) -> None:
        live = self.stmts.live_word
        if self.key:
            self._find(
                "find",
                self.stmts.find(self.key),
                self.key,
                f"Finds a {live}row by primary key.",
                "STELE_E_NOT_FOUND.",
            )
            locks = (
                ("find_for_update", "", "waiting for whoever holds it", "STELE_E_NOT_FOUND."),
                (
                    "find_for_update_nowait",
                    " NOWAIT",
                    "without waiting",
                    "STELE_E_NOT_FOUND; STELE_E_LOCKED when someone else holds the row.",
                ),
                (
                    "find_for_update_skip_locked",
                    " SKIP LOCKED",
                    "unless someone else holds it",
                    "STELE_E_NOT_FOUND, also when someone else holds the row.",
                ),
            )
            for name, clause, how, errors in locks:
                what = f"Finds a {live}row by primary key and locks it, {how}."
                stmt = self.stmts.find_for_update(self.key, name, clause)
                self._find(name, stmt, self.key, what, errors)
        for index in self._uniques():
            key = self.structs.key(index.key, _columns(index), index.doc or f"Key {index.key}.")
            what = f"Finds a {live}row by {index.key}."
            self._find(
                f"find_by_{index.key}",
                self.stmts.find_by(key, index),
                key,
                what,
                "STELE_E_NOT_FOUND.",
            )

    def _uniques(self) -> list[Index]:
        """Unique indexes on columns; one with an expression gives no functions."""
        return [
            index
            for index in self.table.indexes
            if index.unique and all(item.column for item in index.items)
        ]

    def _lists(self) -> None:
        for plan in self.stmts.lists():
            doc = f"Key of list {plan.name}."
            key = self.structs.key(plan.name, plan.by, doc) if plan.by else None
            stmt, resume = self.stmts.page(plan, key)
            members = (
                ("stmt", f"&{stmt.name}_stmt"),
                ("resume_arg", "2"),
                ("limit_arg", "3"),
                ("resume_from", str(resume[0])),
                ("resume_to", str(resume[1])),
            )
            notes = [
                ("Pages", "*page is NULL for the first; each call replaces it by the next."),
                ("Owns", f"the caller: {self.base}_page_free(); STELE_DONE frees it."),
                ("Errors", "STELE_E_INPUT for limit 0. *page stays as it was."),
            ]
            what = plan.doc or f"Lists {self.stmts.live_word}rows by {plan.name}."
            params = [_CONN, key.param] if key else [_CONN]
            params += self._filter_param()
            self._function(
                "page",
                f"list_by_{plan.name}",
                [*params, "uint32_t limit", f"{self.base}_page **page"],
                doc_comment(what, notes),
                f"st = stele_gen_page(conn, {{d}}, args, {self._flags}, limit, &base, err);",
                stmt=stmt,
                descriptor=f"&{stmt.name}_list",
                args=[key.arg if key else "NULL", self._filter_arg, "NULL", "NULL"],
                filtered=self.has_filter,
                extra=[StmtView("list", f"{stmt.name}_list", members)],
            )
            self._resume(plan.name, stmt.name)

    def _resume(self, plan: str, stmt: str) -> None:
        what = (
            f"Makes a page without rows, after which {stmt}() continues where the token was taken."
        )
        notes = [
            ("Owns", f"the caller: {self.base}_page_free()."),
            ("Errors", "STELE_E_INPUT for a token that is not of this list."),
        ]
        self._function(
            "resume",
            f"{plan}_resume",
            ["stele_str token", f"{self.base}_page **page"],
            doc_comment(what, notes),
            "st = stele_gen_page_resume({d}, token, &base, err);",
            descriptor=f"&{stmt}_list",
        )

    def _filter_param(self) -> list[str]:
        return [f"const {self.base}_filter *filter"] if self.has_filter else []

    @property
    def _filter_arg(self) -> str:
        return "filter" if self.has_filter else "NULL"

    @property
    def has_filter(self) -> bool:
        return bool(self.filters or self.stmts.scopes)

    @property
    def _flags(self) -> str:
        return "flags" if self.stmts.scopes else "0"

    def _counts(self) -> None:
        which = " `filter` NULL: all live rows." if self.stmts.scopes else " `filter` may be NULL."
        for name, result, what in (
            ("count", "int64_t *ret_count", "Counts rows."),
            ("exists", "bool *ret_exists", "Tells whether there is a row."),
        ):
            target = result.split("*")[1]
            self._function(
                "value",
                name,
                [_CONN, *self._filter_param(), result],
                doc_comment(what + (which if self.has_filter else "")),
                f"return stele_gen_value(conn, {{d}}, args, {self._flags}, {target}, err);",
                stmt=self.stmts.aggregate(name),
                args=[self._filter_arg],
                filtered=self.has_filter,
            )

    def _iter(self) -> None:
        name = f"{self.base}_iter"
        which = f"Reads {self.stmts.live_word}rows one by one, by primary key, in constant memory."
        notes = [
            (
                "Owns",
                f"the caller, on success: {name}_close(). Meanwhile conn takes no other calls.",
            ),
            ("Errors", f"may also come after rows, of {name}_next()."),
        ]
        flags = self._flags
        self._function(
            "iter",
            "iter_open",
            [_CONN, *self._filter_param(), f"{name} **ret_iter"],
            doc_comment(which + (" `filter` may be NULL." if self.has_filter else ""), notes),
            f"stele_status st = stele_gen_iter_open(conn, {{d}}, args, {flags}, &iter, err);",
            stmt=self.stmts.iter(),
            descriptor=f"&{name}_stmt",
            args=[self._filter_arg],
            filtered=self.has_filter,
        )

    def _writes(self) -> None:
        required = any(self.stmts.required(col) for col in self.table.columns)
        errors = "STELE_E_UNIQUE and those of other constraints" + (
            "; STELE_E_INPUT when a required column is unset." if required else "."
        )
        params = [f"const {self.base}_input *input"] if self.inputs else []
        self._function(
            "optional",
            "insert",
            [_CONN, *params, f"{self.row} **ret_row"],
            doc_comment("Inserts a row.", [self._owns_row, ("Errors", errors)]),
            _GIVE,
            stmt=self.stmts.insert(),
            without=_RUN,
            args=["input" if self.inputs else "NULL"],
        )
        if self.inputs:
            self._many(insert_many(self.stmts, self.module_name))
        for name, columns, index in self._upserts():
            self._upsert(name, columns, index, errors)
            self._many(upsert_many(self.stmts, self.module_name, name, columns, index))
        if self.key and self.patch:
            self._update(self.key)

    @property
    def _owns_row(self) -> tuple[str, str]:
        return ("Owns", f"the caller: {self.row}_free(). `ret_row` may be NULL.")

    def _upserts(self) -> list[tuple[str, tuple[str, ...], Index | None]]:
        """Keys that can arrive from the caller: (function, columns, unique index)."""
        out: list[tuple[str, tuple[str, ...], Index | None]] = []
        settable = {item.column.name for item in self.inputs}
        primary = [self.columns[name] for name in self.table.primary_key]
        if primary and all(
            col.identity is Identity.NONE and col.name in settable for col in primary
        ):
            out.append(("upsert", self.table.primary_key, None))
        for index in self._uniques():
            columns = _columns(index)
            if settable.issuperset(columns):
                out.append((f"upsert_by_{index.key}", columns, index))
        return out

    def _upsert(
        self, name: str, columns: tuple[str, ...], index: Index | None, errors: str
    ) -> None:
        what = (
            f"Inserts a row, or updates the one with the same {_listed(columns)}: sets the columns "
            "that are set here."
        )
        if self.table.ttl:
            what += " An expired row is revived."
        errors = errors.replace("STELE_E_UNIQUE", "STELE_E_UNIQUE for another key")
        notes = [self._owns_row, ("Errors", errors)]
        params = [_CONN, f"const {self.base}_input *input", f"{self.row} **ret_row"]
        if self.stmts.tells_inserted:
            notes[0] = ("Owns", f"the caller: {self.row}_free().")
            notes.insert(1, ("NULL", "`ret_row` and `ret_inserted` may be NULL."))
            params.append("bool *ret_inserted")
        self._function(
            "upsert" if self.stmts.tells_inserted else "optional",
            name,
            params,
            doc_comment(what, notes),
            _GIVE,
            stmt=self.stmts.upsert(name, columns, index),
            without=_RUN,
            args=["input"],
        )

    def _many(self, bulk: BulkStmt) -> None:
        """A function that stores many rows."""
        view = bulk_function(bulk, self.base, self.row)
        self.functions.append(view)
        self.blocks.append(bulk.block(view, *self._describe(bulk.stmt)))

    def _update(self, key: Key) -> None:
        what = "Updates a row by primary key"
        what += ", expired or not." if self.table.ttl else "."
        errors = "STELE_E_NOT_FOUND; STELE_E_INPUT when nothing is set; those of constraints."
        if self.table.version:
            errors = f"STELE_E_CONFLICT when the row no longer has `if_version`; {errors}"
        self._function(
            "optional",
            "update",
            [_CONN, key.param, f"const {self.base}_patch *patch", f"{self.row} **ret_row"],
            doc_comment(what, [self._owns_row, ("Errors", errors)]),
            _GIVE,
            stmt=self.stmts.update(key),
            without=_RUN,
            args=[key.arg, "patch"],
        )

    def _deletes(self, key: Key) -> None:
        soft = bool(self.table.soft_delete)
        missing = "STELE_E_NOT_FOUND; STELE_E_FOREIGN_KEY when others refer to it."
        how = "softly, unless that is switched off." if soft else "for good."
        self._by_key(
            "delete", key, self.stmts.delete(key), f"Deletes a row by primary key, {how}", missing
        )
        if soft:
            self._by_key(
                "restore",
                key,
                self.stmts.restore(key),
                "Takes a soft delete back.",
                "STELE_E_NOT_FOUND when there is no deleted row of this key; STELE_E_UNIQUE when a "
                "newer row has taken its place.",
            )
        self._by_key(
            "hard_delete",
            key,
            self.stmts.hard_delete(key),
            "Removes a row by primary key for good" + (", deleted or not." if soft else "."),
            missing,
        )

    def _by_key(self, name: str, key: Key, stmt: Stmt, what: str, errors: str) -> None:
        doc = doc_comment(what, [("Errors", errors)])
        self._function("exec", name, [_CONN, key.param], doc, _RUN, stmt=stmt, args=[key.arg])

    def _sweeps(self) -> list[tuple[str, str]]:
        """Expire and purge, and what names their statements."""
        named = []
        run = "return stele_gen_exec(conn, {d}, args, 0, false, ret_count, err);"
        if self.table.ttl:
            stmt = self.stmts.expire()
            named.append(("expire", f"&{stmt.name}_stmt"))
            doc = doc_comment(
                "Deletes rows whose time is over, the oldest first and at most `limit`; rows that "
                "others hold are left for later. `ret_count` may be NULL."
            )
            params = [_CONN, "uint32_t limit", "uint64_t *ret_count"]
            setup = ["int64_t max = limit;"]
            self._function(
                "exec", "expire", params, doc, run, stmt=stmt, args=["&max"], setup=setup
            )
        if self.table.soft_delete:
            stmt = self.stmts.purge()
            named.append(("purge", f"&{stmt.name}_stmt"))
            doc = doc_comment(
                "Removes for good rows that were deleted before a time, the oldest first and at "
                "most `limit`. `ret_count` may be NULL."
            )
            params = [_CONN, "stele_ts deleted_before", "uint32_t limit", "uint64_t *ret_count"]
            args = ["&deleted_before", "&max"]
            setup = ["int64_t max = limit;"]
            self._function("exec", "purge", params, doc, run, stmt=stmt, args=args, setup=setup)
        return named

    def _sweeper(self) -> tuple[tuple[str, str], ...]:
        """Statements that only the sweeper runs."""
        sweep = Sweeps(self.stmts, self.own_module).sweep()
        for stmt in sweep.stmts:
            arrays, stmts = self._describe(stmt)
            self.blocks.append(BlockView(arrays, stmts, None, too_wide(arrays, stmts)))
        return sweep.members

    def _jobs(self) -> StmtView | None:
        """What makes the table a queue; the descriptor that workers take."""
        if not self.table.jobs:
            return None
        for stmt in job_statements(self.base, self.table.name):
            arrays, stmts = self._describe(stmt)
            self.blocks.append(BlockView(arrays, stmts, None, too_wide(arrays, stmts)))
        for function in job_functions(self.base):
            self.functions.append(function)
            self.blocks.append(BlockView((), (), function, False))
        return job_descriptor(self.base, self.module, self.table.name)

    def _dup(self) -> None:
        self._function(
            "dup",
            "row_dup",
            [f"const {self.row} *row", f"{self.row} **ret_row"],
            doc_comment(
                "Copies a row into a block of its own, for instance out of a page.",
                [("Owns", f"the caller: {self.row}_free()."), ("Errors", "STELE_E_NOMEM.")],
            ),
            "stele_status st = stele_gen_dup({d}, row, &copy, err);",
            # Any statement that returns rows describes them.
            descriptor=f"&{self.stmts.row_stmt}_stmt",
        )

    # -- all --

    def run(self) -> TableResult:
        self._finds()
        self._lists()
        self._counts()
        if self.key:
            self._iter()
        self._writes()
        sweeps: list[tuple[str, str]] = []
        if self.key:
            self._deletes(self.key)
            sweeps = self._sweeps()
        sweeps += self._sweeper()
        jobs = self._jobs()
        self._dup()
        page = f"{self.base}_page"
        view = TableView(
            name=self.table.name,
            heading=heading(self.table),
            row=self.structs.row(),
            structs=self._structs(),
            page=self.structs.page(),
            has_pages=bool(self.stmts.lists()),
            functions=tuple(self.functions),
            row_type=self.row,
            row_free=inline("void", f"{self.row}_free", f"{self.row} *row"),
            row_autofree=inline("void", f"{self.row}_autofree", f"{self.row} **row"),
            page_type=page,
            page_free=inline("void", f"{page}_free", f"{page} *page"),
            page_autofree=inline("void", f"{page}_autofree", f"{page} **page"),
            page_token=prototype(
                "STELE_MUST_CHECK static inline stele_status",
                f"{page}_token",
                [f"const {page} *page", "char *buf", "size_t size", _ERR],
                "",
            ),
            upserted=(
                f"{self.base}_upserted" if self._upserts() and self.stmts.tells_inserted else ""
            ),
            constants=self._constants(),
            scope=self._scope(),
            blocks=tuple(self.blocks),
            iter=opaque(f"{self.base}_iter") if self.key else "",
            inlines=iterator(f"{self.base}_iter", self.row) if self.key else (),
            jobs=jobs,
        )
        return TableResult(view, tuple(sweeps), tuple(self.made))

    def _structs(self) -> tuple[StructView, ...]:
        out = []
        if self.inputs:
            takers = "insert and upsert take" if self._upserts() else "insert takes"
            out.append(self.structs.input(self.inputs, self.stmts.required, takers))
        if self.key and self.patch:
            out.append(self.structs.patch_struct(self.patch))
        if self.has_filter:
            scopes = [member for member, _ in self.stmts.scopes]
            out.append(self.structs.filter(self.filters, scopes))
        return (*out, *self.structs.keys)

    def _scope(self) -> ScopeView | None:
        if not self.stmts.scopes:
            return None
        params = [f"const {self.base}_filter *filter"]
        return ScopeView(
            prototype("static uint32_t", f"{self.base}_scope", params, ""), self.stmts.scopes
        )

    def _constants(self) -> tuple[str, ...]:
        out = list(self.stmts.constants())
        if self.has_filter:
            out.append(f"static const {self.base}_filter {self.base}_no_filter = {{0}};")
        return tuple(
            f"/* clang-format off */\n{text}\n/* clang-format on */"
            if any(len(line) > COLUMNS for line in text.split("\n"))
            else text
            for text in out
        )


def _columns(index: Index) -> tuple[str, ...]:
    return tuple(item.column for item in index.items)


def _listed(columns: Sequence[str]) -> str:
    return columns[0] if len(columns) == 1 else f"({', '.join(columns)})"
