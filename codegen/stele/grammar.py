"""The schema language as data: which keys stand where, what they hold, what they are for.

The readers take their known keys from here, and the JSON Schema for editors is made from it, so
the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Shape = Mapping[str, object]

NAME: Final[Shape] = {"$ref": "#/$defs/name"}
NAMES: Final[Shape] = {"type": "array", "items": NAME, "minItems": 1}
TEXT: Final[Shape] = {"type": "string"}
SQL: Final[Shape] = {"$ref": "#/$defs/sql"}
LITERAL: Final[Shape] = {"$ref": "#/$defs/literal"}
TYPE: Final[Shape] = {"$ref": "#/$defs/type"}
FLAG: Final[Shape] = {"type": "boolean"}


def choice(*words: str) -> Shape:
    return {"enum": list(words)}


def ref(name: str) -> Shape:
    return {"$ref": f"#/$defs/{name}"}


def either(*shapes: Shape) -> Shape:
    return {"anyOf": list(shapes)}


def named(shape: Shape) -> Shape:
    """A mapping from names of the author's choice."""
    return {"type": "object", "propertyNames": NAME, "additionalProperties": shape}


def some(shape: Shape) -> Shape:
    return {"type": "array", "items": shape, "minItems": 1}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an object of the language."""

    name: str
    shape: Shape
    doc: str
    required: bool = False


ACTIONS: Final = ("no action", "restrict", "cascade", "set null", "set default")
DEFERRABLE: Final = ("no", "immediate", "deferred")
FOLDS: Final = ("none", "lower")
IDENTITIES: Final = ("always", "by_default")
METHODS: Final = ("btree", "hash", "gin", "gist", "spgist", "brin")
ORDERS: Final = ("asc", "desc")
NULLS: Final = ("first", "last")
PARTITIONS: Final = ("range", "list", "hash")
FLAGS: Final = ("true", "false")
ROLES: Final = ("touch", "ttl", "soft_delete", "version")

_DOC: Final = Key("doc", TEXT, "Description, for comments in C and SQL.")

_PARTS: Final = (
    Key("columns", named(ref("column")), "Columns in order: a type, or a mapping."),
    Key("touch", NAME, "Timestamp column that every update sets to now."),
    Key("ttl", NAME, "Nullable timestamp column after which the row is expired."),
    Key("soft_delete", NAME, "Nullable timestamp column that marks a deleted row."),
    Key("version", NAME, "Integer column that every update increments."),
    Key("unique", named(ref("unique")), "Unique keys: a list of columns, or a mapping."),
    Key("indexes", named(ref("index")), "Indexes: a list of columns, or a mapping."),
    Key("checks", named(SQL), "Conditions that every row meets."),
    Key("foreign_keys", named(ref("foreign_key")), "References to other tables."),
    Key("list", named(ref("list")), "Paged lists to generate."),
)

_INDEX: Final = (
    Key("columns", some(ref("item")), "What the index is made of.", required=True),
    Key("where", SQL, "Which rows it holds; may begin with not_deleted."),
    Key("include", NAMES, "Columns stored beside the key."),
    Key("with", SQL, "Storage parameters."),
    _DOC,
)

OBJECTS: Final[dict[str, tuple[Key, ...]]] = {
    "module": (
        Key(
            "module",
            NAME,
            "Name of the module; generated files are called after it.",
            required=True,
        ),
        _DOC,
        Key("c_prefix", TEXT, "Put before every generated C name."),
        Key("index_name", TEXT, "How indexes are named: {schema_} {prefix} {table} {key}."),
        Key("fold", choice(*FOLDS), "lower: names are folded as if they were never quoted."),
        Key("longest", ref("longest"), "Longest schema and prefix that names are checked with."),
        Key("enums", named(ref("enum")), "Enum types: a list of labels, or a mapping."),
        Key("traits", named(ref("trait")), "Parts of tables, to be used by several."),
        Key("tables", named(ref("table")), "Tables."),
    ),
    "longest": (
        Key("schema", {"type": "integer", "minimum": 0, "maximum": 63}, "Bytes of the schema."),
        Key("prefix", {"type": "integer", "minimum": 0, "maximum": 63}, "Bytes of the prefix."),
    ),
    "enum": (Key("labels", some(TEXT), "Labels in order.", required=True), _DOC),
    "trait": (*_PARTS, _DOC),
    "table": (
        _DOC,
        Key("use", NAMES, "Traits, whose columns follow the table's own; 'jobs' is built in."),
        *_PARTS,
        Key("primary_key", either(NAME, NAMES), "Column or columns of the primary key."),
        Key("follows", ref("follows"), "The table whose rows these live and die with."),
        Key("partition_by", ref("partition_by"), "Declarative partitioning."),
        Key("distribute_by", NAME, "Column that spreads the rows over servers."),
        Key("large", FLAG, "true: stele verify warns of statements that read all of it."),
        Key("renamed_from", NAME, "Former name, for whoever alters the table."),
        Key("objects", named(ref("object")), "Other SQL objects that belong to the table."),
    ),
    "column": (
        Key("type", TYPE, "Type; a question mark behind it makes it nullable.", required=True),
        Key("default", SQL, "Default, as SQL."),
        Key("value", LITERAL, "Default, as a plain value."),
        Key("identity", choice(*IDENTITIES), "The server numbers the rows."),
        Key("generated", SQL, "Stored generated column: its SQL expression."),
        Key("collation", TEXT, "Collation of a text column."),
        Key("check", SQL, "Condition on this column."),
        Key("references", TEXT, "Foreign key of one column: table(column)."),
        Key("renamed_from", NAME, "Former name, for whoever alters the table."),
        _DOC,
    ),
    "unique": (
        *_INDEX,
        Key("nulls_not_distinct", FLAG, "true: two NULLs are equal (PostgreSQL 15)."),
        Key("spans_deleted", FLAG, "true: softly deleted rows keep their key."),
    ),
    "index": (
        *_INDEX,
        Key("method", choice(*METHODS), "Access method; btree unless given."),
        Key("optional", FLAG, "true: created only where it is asked for; 'doc' says why."),
    ),
    "item": (
        Key("column", NAME, "A column."),
        Key("expression", SQL, "An expression instead of a column."),
        Key("opclass", SQL, "Operator class."),
        Key("collation", TEXT, "Collation."),
        Key("order", choice(*ORDERS), "Direction."),
        Key("nulls", choice(*NULLS), "Where NULLs stand."),
    ),
    "foreign_key": (
        Key("columns", NAMES, "Columns of this table.", required=True),
        Key("references", TEXT, "table(columns), or module.table(columns).", required=True),
        Key("on_delete", choice(*ACTIONS), "What happens when the other row is deleted."),
        Key("on_update", choice(*ACTIONS), "What happens when the other key changes."),
        Key("deferrable", choice(*DEFERRABLE), "When it is checked."),
    ),
    "list": (
        Key("by", NAMES, "Columns that are given."),
        Key("order", some(TEXT), "Columns that put rows in order; the primary key is appended."),
        Key("where", SQL, "Which rows it shows."),
        _DOC,
    ),
    "follows": (
        Key("table", NAME, "Table of this module that has a ttl.", required=True),
        Key("columns", NAMES, "Columns here that name its row.", required=True),
        Key("to", NAMES, "Its columns, if they are called differently."),
    ),
    "partition_by": (
        Key("method", choice(*PARTITIONS), "How rows are spread.", required=True),
        Key("columns", NAMES, "By what.", required=True),
    ),
    "object": (
        Key("create", SQL, "SQL that creates it; {table} and {name} are filled in.", required=True),
    ),
}

# Objects that have a short form besides the mapping.
SHORT: Final[dict[str, Shape]] = {
    "column": TYPE,
    "enum": some(TEXT),
    "unique": some(ref("item")),
    "index": some(ref("item")),
    "item": {"type": "string"},
}

KEYS: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(key.name for key in keys) for name, keys in OBJECTS.items()
}
