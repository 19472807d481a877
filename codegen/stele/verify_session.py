"""Where statements are verified: in temporary schemas, in a transaction that is never committed."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from stele.libpq import Connection, Description, ServerError
from stele.lower_types import catalog_type
from stele.model import Module, Scalar, Schema, Type
from stele.names import SQL_NAME_MAX, byte_length, quote_literal
from stele.partsql import SQL_TYPES, Names

# What is no fault of a statement: no memory, no locks, shut down, cancelled, broken.
_ENVIRONMENT: Final = ("08", "53", "57", "58", "F0", "XX")
_PREFIX: Final = "v_"

ANY_TYPE: Final = 0  # as the type of a parameter: the server finds out
_TEXT: Final = "text"
_SAME_BYTES: Final = {_TEXT: (_TEXT, "varchar", "name")}  # as the runtime has it


class VerifyProblem(Exception):
    """The database cannot be used."""


@dataclass(slots=True)
class Session:
    """One transaction. Names in force change with `use`."""

    connection: Connection
    schema: Schema
    names: Names = field(default_factory=Names)
    statements: int = 0
    progress: Callable[[int, str], None] = lambda count, what: None
    _base: str = field(default_factory=lambda: f"stele_verify_{secrets.token_hex(4)}")
    _path: str = ""
    _oids: dict[str, tuple[int, int]] = field(default_factory=dict)  # a type, its array
    _own: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)  # enums
    _named: dict[str, int] = field(default_factory=dict)
    _relations: dict[int, str] = field(default_factory=dict)
    _not_null: dict[int, dict[int, tuple[str, bool]]] = field(default_factory=dict)

    def open(self) -> None:
        try:
            self.connection.execute("BEGIN READ WRITE")
            self._set_up()
        except ServerError as error:
            raise VerifyProblem(f"the database cannot be used: {error}") from error

    def _set_up(self) -> None:
        ((path,),) = self.connection.execute("SELECT current_setting('search_path')")
        self._path = path or ""
        settings = {
            "TimeZone": "UTC",
            "plan_cache_mode": "force_generic_plan",
            "enable_seqscan": "off",
            "statement_timeout": "0",
            "idle_in_transaction_session_timeout": "0",
            "check_function_bodies": "on",
        }
        for name, value in settings.items():
            self.connection.execute(f"SET LOCAL {name} = {quote_literal(value)}")
        names = ", ".join(quote_literal(name) for name in {*SQL_TYPES.values(), "varchar", "name"})
        rows = self.connection.execute(
            "SELECT typname, oid, typarray FROM pg_catalog.pg_type"
            f" WHERE typnamespace = 'pg_catalog'::regnamespace AND typname IN ({names})"
        )
        self._oids = {str(name): (int(oid or 0), int(array or 0)) for name, oid, array in rows}

    # ---- names ----

    def use_bare_names(self) -> None:
        """Names as an application has them that names no schema."""
        home = self._create_schema("")
        pins = {}
        for i, module in enumerate(self._clashing()):
            pins[module] = self._create_schema(f"_{i}")
        self._use(Names(pins=pins), [home])

    def use_own_names(self) -> None:
        """A schema that must be named, and a prefix: no name that was left bare is found."""
        elsewhere = self._create_schema("_e")
        pins = {
            module.name: self._create_schema(f"_p{i}")
            for i, module in enumerate(self.schema.modules)
        }
        relations = [name for module in self.schema.modules for name in _relations(module)]
        longest = max(map(byte_length, relations), default=0)
        prefix = _PREFIX if longest + len(_PREFIX) <= SQL_NAME_MAX else ""
        self._use(Names(prefix=prefix, made_schema="s", pins=pins), [elsewhere])

    def _create_schema(self, suffix: str) -> str:
        name = self._base + suffix
        try:
            self.connection.execute(f"CREATE SCHEMA {name}")
        except ServerError as error:
            if error.sqlstate == "42501":
                message = "verifying needs CREATE on the database, for schemas that never last"
                raise VerifyProblem(f"{message}: {error}") from error
            raise VerifyProblem(f"cannot create a schema: {error}") from error
        return name

    def _use(self, names: Names, first: Sequence[str]) -> None:
        self.names = names
        path = ", ".join([*first, self._path] if self._path.strip(' "') else first)
        self.connection.execute(f"SELECT set_config('search_path', {quote_literal(path)}, true)")
        self._own.clear()
        self._named.clear()
        self.connection.execute("SAVEPOINT stele")

    def _clashing(self) -> list[str]:
        """Modules that have a name in common with one before them."""
        taken: set[str] = set()
        out = []
        for module in self.schema.modules:
            own = set(_relations(module))
            if own & taken:
                out.append(module.name)
            taken |= own
        return out

    def named(self, module: str) -> Names:
        """The names for statements of a module."""
        return Names(
            self.names.schema, self.names.prefix, self.names.made_schema, module, self.names.pins
        )

    def plain(self, message: str) -> str:
        """What the server says, without the names that are ours, as one line without a period."""
        message = re.sub(rf'"?{self._base}\w*"?\.', "", message)
        if self.names.prefix:
            message = re.sub(rf"(?<!\w){self.names.prefix}(?=\w)", "", message)
        return " ".join(message.split()).removesuffix(".")

    # ---- asking ----

    def run(self, sql: str) -> list[tuple[str | None, ...]]:
        """Runs a statement whose effect stays, unless it raises ServerError."""
        self.connection.execute("SAVEPOINT stele_run")
        try:
            rows = self.connection.execute(sql)
        except ServerError as error:
            self._recover("stele_run", error)
            raise
        self.connection.execute("RELEASE SAVEPOINT stele_run")
        return rows

    def describe(self, sql: str, types: Sequence[int]) -> Description:
        self.statements += 1
        try:
            return self.connection.describe(sql, types)
        except ServerError as error:
            self.recover(error)
            raise

    def keep(self) -> None:
        """What was run so far is there whatever becomes of the statements that follow."""
        self.connection.execute("RELEASE SAVEPOINT stele; SAVEPOINT stele")

    def recover(self, error: ServerError) -> None:
        """Makes the transaction usable again after a statement that failed."""
        self._recover("stele", error)

    def _recover(self, savepoint: str, error: ServerError) -> None:
        if error.sqlstate.startswith(_ENVIRONMENT):
            hint = f" ({error.hint})" if error.hint else ""
            raise VerifyProblem(f"the server gives up: {error}{hint}") from error
        self.connection.execute(f"ROLLBACK TO SAVEPOINT {savepoint}")

    # ---- types ----

    def oid(self, name: str) -> int:
        """A type by the name that statements declare their parameters with; 0 for unknown."""
        if name.startswith("unknown"):
            return ANY_TYPE
        base = name.removesuffix("[]")
        return self._oids[base][1 if name.endswith("[]") else 0]

    def type_oid(self, kind: Type) -> int:
        """A type of the schema, as columns have it."""
        if kind.scalar is Scalar.ENUM:
            return self._enum(kind)
        if kind.scalar is Scalar.OPAQUE:
            return self._named_oid(catalog_type(kind))
        names = {Scalar.CHAR: "bpchar"}
        name = names.get(kind.scalar, kind.scalar.value)
        return self._oids[name][1 if kind.array else 0]

    def _enum(self, kind: Type) -> int:
        key = (kind.enum_module, kind.name)
        if key not in self._own:
            schema = self.names.schema_of(kind.enum_module) or self._base
            rows = self.connection.execute(
                "SELECT oid, typarray FROM pg_catalog.pg_type"
                f" WHERE typnamespace = {quote_literal(schema)}::regnamespace"
                f" AND typname = {quote_literal(self.names.prefix + kind.name)}"
            )
            self._own[key] = (int(rows[0][0] or 0), int(rows[0][1] or 0)) if rows else (0, 0)
        return self._own[key][1 if kind.array else 0]

    def _named_oid(self, name: str) -> int:
        if name not in self._named:
            try:
                ((oid,),) = self.run(f"SELECT pg_catalog.to_regtype({quote_literal(name)})::oid")
            except ServerError:  # no name of a type at all
                oid = None
            self._named[name] = int(oid or 0)
        return self._named[name]

    def fits(self, kind: Type, oid: int) -> bool:
        """Whether the runtime takes a result column of the server's type for one of ours."""
        if kind.scalar is Scalar.OPAQUE:
            return oid == self._oids[_TEXT][1 if catalog_type(kind).endswith("[]") else 0]
        if kind.scalar in (Scalar.TEXT, Scalar.VARCHAR):
            return oid in {self._oids[one][1 if kind.array else 0] for one in _SAME_BYTES[_TEXT]}
        return oid == self.type_oid(kind)

    def type_name(self, oid: int) -> str:
        ((name,),) = self.connection.execute(f"SELECT pg_catalog.format_type({oid}, NULL)")
        return self.plain(name or "?")

    # ---- columns ----

    def origin(self, table: int, number: int) -> tuple[str, bool]:
        """The table.column that a result column comes from, and whether it is NOT NULL."""
        return self._attributes(table)[number]

    def relation(self, table: int) -> str:
        """The name of a table, as statements have it now."""
        if table not in self._relations:
            ((name,),) = self.connection.execute(
                f"SELECT relname FROM pg_catalog.pg_class WHERE oid = {table}"
            )
            self._relations[table] = name or ""
        return self._relations[table]

    def _attributes(self, table: int) -> dict[int, tuple[str, bool]]:
        if table not in self._not_null:
            rows = self.connection.execute(
                "SELECT a.attnum, c.relname, a.attname, a.attnotnull"
                " FROM pg_catalog.pg_attribute AS a"
                " JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid"
                f" WHERE a.attrelid = {table}"
            )
            self._not_null[table] = {
                int(number or 0): (self.plain(f"{relation}.{name}"), not_null == "t")
                for number, relation, name, not_null in rows
            }
        return self._not_null[table]


def _relations(module: Module) -> Iterable[str]:
    """The names that a prefix is put before."""
    for table in module.tables:
        yield table.name
        yield from (raw.key for raw in table.objects)
    yield from (one.name for one in module.enums)
