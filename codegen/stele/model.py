"""The contract between the halves of the generator.

`load` and `resolve` build these, `check` judges them, `lower` turns them into views for templates.
Nothing here knows YAML, Jinja or C. All nodes are frozen, hold tuples, and remember where they came
from.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a schema file; line and column count from 1."""

    path: str
    line: int
    column: int


class Scalar(Enum):
    """The scalar types of the schema language, by their canonical PostgreSQL names."""

    BOOL = "bool"
    INT2 = "int2"
    INT4 = "int4"
    INT8 = "int8"
    FLOAT4 = "float4"
    FLOAT8 = "float8"
    NUMERIC = "numeric"
    TEXT = "text"
    VARCHAR = "varchar"
    CHAR = "char"
    BYTEA = "bytea"
    UUID = "uuid"
    DATE = "date"
    TIME = "time"
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    INTERVAL = "interval"
    JSON = "json"
    JSONB = "jsonb"
    INET = "inet"
    ENUM = "enum"  # Type.name is the enum's name
    OPAQUE = "opaque"  # Type.name is the SQL type, which travels as text


@dataclass(frozen=True, slots=True)
class Type:
    """A column's type. `length` is varchar(n) or char(n); numeric has precision and scale."""

    scalar: Scalar
    array: bool = False
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    name: str = ""
    enum_module: str = ""  # module that declares the enum


class Identity(Enum):
    """How the server makes a column's value."""

    NONE = "none"
    SERIAL = "serial"  # smallserial, serial, bigserial: an owned sequence and a default
    ALWAYS = "always"
    BY_DEFAULT = "by default"


@dataclass(frozen=True, slots=True)
class Column:
    span: Span
    name: str
    type: Type
    nullable: bool
    identity: Identity = Identity.NONE
    default: str = ""  # an SQL expression; '' is none. A literal `value:` arrives here quoted.
    generated: str = ""  # stored generated column: its SQL expression
    collation: str = ""
    doc: str = ""
    renamed_from: str = ""


class Order(Enum):
    ASC = "asc"
    DESC = "desc"


class Nulls(Enum):
    DEFAULT = ""
    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class IndexItem:
    """One key of an index: a column or an expression, never both."""

    span: Span
    column: str = ""
    expression: str = ""
    opclass: str = ""
    collation: str = ""
    order: Order = Order.ASC
    nulls: Nulls = Nulls.DEFAULT


@dataclass(frozen=True, slots=True)
class Predicate:
    """An index predicate. `not_deleted` is the soft-delete policy's; `sql` is the author's rest.

    Both may hold; they are joined by AND.
    """

    not_deleted: bool = False
    sql: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """An index; `unique` ones come from a table's `unique:` and give find_by and upsert_by."""

    span: Span
    key: str  # the name in the schema file
    unique: bool
    items: tuple[IndexItem, ...]
    include: tuple[str, ...] = ()
    method: str = "btree"
    predicate: Predicate | None = None
    nulls_not_distinct: bool = False
    with_options: str = ""  # storage parameters, as SQL
    optional: bool = False  # created only where it is asked for
    doc: str = ""


class Action(Enum):
    NO_ACTION = "no action"
    RESTRICT = "restrict"
    CASCADE = "cascade"
    SET_NULL = "set null"
    SET_DEFAULT = "set default"


class Deferrable(Enum):
    NO = ""
    IMMEDIATE = "initially immediate"
    DEFERRED = "initially deferred"


@dataclass(frozen=True, slots=True)
class ForeignKey:
    span: Span
    key: str
    columns: tuple[str, ...]
    ref_module: str
    ref_table: str
    ref_columns: tuple[str, ...]
    on_delete: Action = Action.NO_ACTION
    on_update: Action = Action.NO_ACTION
    deferrable: Deferrable = Deferrable.NO


@dataclass(frozen=True, slots=True)
class Check:
    span: Span
    key: str
    sql: str


@dataclass(frozen=True, slots=True)
class OrderItem:
    span: Span
    column: str
    order: Order


@dataclass(frozen=True, slots=True)
class ListSpec:
    """A paged list: equality on `by`, then `order`; resolve appends the primary key to `order`."""

    span: Span
    key: str
    by: tuple[str, ...]
    order: tuple[OrderItem, ...]
    where: Predicate | None = None
    doc: str = ""


@dataclass(frozen=True, slots=True)
class RawObject:
    """SQL that belongs to a table: functions, triggers. `create` may use {table} and {name}."""

    span: Span
    key: str
    create: str


@dataclass(frozen=True, slots=True)
class PartitionBy:
    """Declarative partitioning of the parent table."""

    method: str  # range, list, hash
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Follows:
    """A table whose rows live and die with the undeleted row of another table of the module."""

    span: Span
    table: str
    columns: tuple[str, ...]  # here
    to: tuple[str, ...]  # there, in the same order


@dataclass(frozen=True, slots=True)
class Table:
    span: Span
    name: str
    columns: tuple[Column, ...]  # own columns first, then those of traits in order of use
    primary_key: tuple[str, ...]  # () for none
    indexes: tuple[Index, ...] = ()  # uniques first, then the others; each in file order
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    lists: tuple[ListSpec, ...] = ()
    objects: tuple[RawObject, ...] = ()
    touch: str = ""  # column set to now by every update
    ttl: str = ""  # column after which the row is expired
    soft_delete: str = ""  # column that marks a deleted row
    version: str = ""  # column incremented by every update
    partition_by: PartitionBy | None = None
    distribute_by: str = ""
    follows: Follows | None = None
    jobs: bool = False  # a durable queue: the built-in trait
    storage: str = ""  # storage parameters, as SQL
    large: bool = False
    doc: str = ""
    renamed_from: str = ""


def parts_by_ttl(table: Table) -> bool:
    """Whether the table lies in ranges of its time to live, each of which expires as a whole."""
    partition = table.partition_by
    return (
        partition is not None
        and partition.method == "range"
        and bool(table.ttl)
        and partition.columns == (table.ttl,)
    )


@dataclass(frozen=True, slots=True)
class EnumType:
    span: Span
    name: str
    labels: tuple[str, ...]
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Longest:
    """The longest schema and prefix, in bytes, that names are checked with."""

    schema: int
    prefix: int


class QueryKind(Enum):
    """What a query answers with."""

    ONE = "one"  # a row; none is STELE_E_NOT_FOUND
    MAYBE = "maybe"  # a row or NULL
    MANY = "many"
    ITER = "iter"
    EXEC = "exec"
    EXECROWS = "execrows"  # the number of rows


@dataclass(frozen=True, slots=True)
class QueryParam:
    span: Span
    name: str
    type: Type
    nullable: bool
    optional: bool  # used in clauses only, so that it may stay unset


@dataclass(frozen=True, slots=True)
class QueryReturn:
    """One column of the result, or the columns of a whole row: then `table` is (module, table)."""

    span: Span
    name: str
    type: Type | None
    nullable: bool
    table: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class QueryChoice:
    """What the caller chooses among; the first label is the default."""

    span: Span
    name: str
    labels: tuple[str, ...]


class PolicyKind(Enum):
    LIVE = "live"
    NOT_DELETED = "not_deleted"


@dataclass(frozen=True, slots=True)
class SqlText:
    text: str


@dataclass(frozen=True, slots=True)
class TableRef:
    """The bare name of a table, or of an enum type, under the names of run time."""

    module: str
    table: str


@dataclass(frozen=True, slots=True)
class ParamRef:
    param: int


@dataclass(frozen=True, slots=True)
class RowRef:
    """All columns of a table, in order, each behind the alias."""

    module: str
    table: str
    alias: str


@dataclass(frozen=True, slots=True)
class PolicyRef:
    kind: PolicyKind
    module: str
    table: str
    alias: str


@dataclass(frozen=True, slots=True)
class Now:
    """The server's time, as a value of the type."""

    scalar: Scalar


@dataclass(frozen=True, slots=True)
class Condition:
    """Present when all `params` are set, or when the flag is true; one of the two is given."""

    params: tuple[int, ...]
    flag: str
    body: tuple[QueryNode, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the bodies, in the order of the choice's labels."""

    choice: str
    bodies: tuple[tuple[QueryNode, ...], ...]


QueryNode = SqlText | TableRef | ParamRef | RowRef | PolicyRef | Now | Condition | Choice


@dataclass(frozen=True, slots=True)
class Query:
    """One statement of a module's .sql file."""

    span: Span
    module: str
    name: str
    kind: QueryKind
    doc: str
    params: tuple[QueryParam, ...]
    returns: tuple[QueryReturn, ...]
    flags: tuple[str, ...]
    choices: tuple[QueryChoice, ...]
    body: tuple[QueryNode, ...]
    custom_plan: bool = False
    reads: bool = False  # it is certain that nothing is written


@dataclass(frozen=True, slots=True)
class Module:
    """One schema file. `index_name` holds {schema_} {prefix} {table} {key}."""

    span: Span
    name: str
    doc: str
    c_prefix: str
    index_name: str
    fold_lower: bool
    longest: Longest
    enums: tuple[EnumType, ...]
    tables: tuple[Table, ...]
    queries: tuple[Query, ...] = ()
    query_path: str = ""  # the .sql file beside the schema file, '' if there is none


@dataclass(frozen=True, slots=True)
class Schema:
    """All modules of a run, sorted by name; tables and enums in file order."""

    modules: tuple[Module, ...]
