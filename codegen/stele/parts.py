"""Reads the parts of a table or a trait: columns, keys, indexes, references, lists."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from stele import types
from stele.draft import Place
from stele.grammar import (
    ACTIONS,
    DEFERRABLE,
    IDENTITIES,
    METHODS,
    NULLS,
    ORDERS,
    ROLES,
)
from stele.literal import LiteralProblem, array_to_sql, to_sql
from stele.model import (
    Action,
    Check,
    Column,
    Deferrable,
    ForeignKey,
    Identity,
    Index,
    IndexItem,
    ListSpec,
    Nulls,
    Order,
    OrderItem,
    Predicate,
    Span,
    Type,
)
from stele.nodes import Broken, Mapping, Node, Scalar, Sequence
from stele.reader import Reader, Word
from stele.suggest import remedy

Enums = dict[str, dict[str, tuple[str, ...]]]  # module -> enum -> labels

_ITEM: Final = re.compile(
    r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:\s+(?P<order>asc|desc))?"
    r"(?:\s+nulls\s+(?P<nulls>first|last))?",
    re.IGNORECASE,
)
_OPCLASS: Final = re.compile(r'(?:(?:\w+|"[^"]+")\s*\.\s*)?(?:\w+|"[^"]+")(?:\s*\([^()]*\))?')
_REFERENCE: Final = re.compile(
    r"(?:(?P<module>[A-Za-z_]\w*)\.)?(?P<table>[A-Za-z_]\w*)\s*"
    r"\(\s*(?P<columns>[A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*)\s*\)",
    re.ASCII,
)
_DEFERRABLE: Final = dict(zip(DEFERRABLE, Deferrable, strict=True))


@dataclass(slots=True)
class Parts:
    """What a table or a trait declares."""

    columns: list[Column] = field(default_factory=list)
    uniques: list[Index] = field(default_factory=list)
    indexes: list[Index] = field(default_factory=list)
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    lists: list[ListSpec] = field(default_factory=list)
    roles: dict[str, Word] = field(default_factory=dict)
    places: dict[Place, Span] = field(default_factory=dict)
    spans_deleted: set[str] = field(default_factory=set)
    unread_predicates: set[str] = field(default_factory=set)  # keys of uniques
    whole: bool = True  # every column could at least be named


@dataclass(frozen=True, slots=True)
class PartsReader:
    """Reads parts for one module."""

    reader: Reader
    module: str
    enums: Enums
    gap_modules: frozenset[str]  # modules whose enums are not all known
    unread: bool  # some file could not be read: its module may be any

    def read(self, fields: dict[str, Node]) -> Parts:
        parts = Parts()
        if "columns" in fields:
            self._columns(fields["columns"], parts)
        for role in ROLES:
            if role in fields:
                word = self.reader.identifier(fields[role])
                if word:
                    parts.roles[role] = word
        for entry in self._named(fields, "unique", "uniques", "key: [column]"):
            index = self._index(entry.text, entry.span, entry.node, True, parts)
            if index:
                parts.uniques.append(index)
        for entry in self._named(fields, "indexes", "indexes", "key: [column]"):
            index = self._index(entry.text, entry.span, entry.node, False, parts)
            if index:
                parts.indexes.append(index)
        for entry in self._named(fields, "checks", "checks", 'key: "a > 0"'):
            sql = self.reader.expression(entry.node)
            if sql:
                parts.checks.append(Check(entry.span, entry.text, sql))
        for entry in self._named(fields, "foreign_keys", "foreign keys", "key: {columns: …}"):
            self._foreign_key(entry.text, entry.span, entry.node, parts)
        for entry in self._named(fields, "list", "lists", "key: {order: [column]}"):
            self._list(entry.text, entry.span, entry.node, parts)
        return parts

    def _named(self, fields: dict[str, Node], key: str, what: str, example: str) -> list[_Named]:
        if key not in fields:
            return []
        entries = self.reader.entries(fields[key], what, example)
        return [_Named(entry.key.text, entry.key.span, entry.value) for entry in entries]

    # ---- columns ----

    def _columns(self, node: Node, parts: Parts) -> None:
        if not isinstance(node, Mapping):
            parts.whole = False
        elif not node.entries:
            self.reader.diags.error(node.span, "S024", "there are no columns", "add 'name: type'")
        entries = self.reader.entries(node, "columns", "name: type")
        if isinstance(node, Mapping) and len(entries) < len(node.entries):
            parts.whole = False
        for entry in entries:
            parts.columns.append(self._column(entry.key.text, entry.key.span, entry.value, parts))

    def _column(self, name: str, span: Span, node: Node, parts: Parts) -> Column:
        if isinstance(node, Scalar | Broken) or _is_opaque(node):
            type_, nullable, serial = self._type(node)
            return Column(span, name, type_, nullable, Identity.SERIAL if serial else Identity.NONE)
        fields = self.reader.fields(node, "column", f'column "{name}"')
        if fields is None or "type" not in fields:
            return Column(span, name, types.UNKNOWN, False)
        type_, nullable, serial = self._type(fields["type"])
        self._column_constraints(name, fields, parts)
        return Column(
            span,
            name,
            type_,
            nullable,
            identity=self._identity(fields, serial),
            default=self._default(name, fields, type_, serial),
            generated=self._expression(fields, "generated"),
            collation=self._text(fields, "collation"),
            doc=self._text(fields, "doc"),
            renamed_from=self._name(
                fields, "renamed_from", parts, ("columns", name, "renamed_from")
            ),
        )

    def _column_constraints(self, name: str, fields: dict[str, Node], parts: Parts) -> None:
        if "check" in fields:
            sql = self.reader.expression(fields["check"])
            if sql:
                parts.checks.append(Check(fields["check"].span, f"{name}_check", sql))
        if "references" in fields:
            target = self._reference(fields["references"])
            if target:
                span = fields["references"].span
                parts.foreign_keys.append(ForeignKey(span, name, (name,), *target))

    def _type(self, node: Node) -> tuple[Type, bool, bool]:
        """The type, whether it is nullable, whether it is serial."""
        text = self._type_text(node)
        if text is None:
            return types.UNKNOWN, False, False
        try:
            written = types.parse(text)
        except types.TypeProblem as problem:
            self.reader.diags.error(node.span, problem.code, problem.message, problem.hint)
            return types.UNKNOWN, False, False
        if written.scalar is not None:
            return types.build(written), written.nullable, written.serial
        module, _, enum = written.name.rpartition(".")
        found = self._enum_module(node.span, module, enum, written)
        if not found:
            return types.UNKNOWN, written.nullable, False
        return types.build(written, found), written.nullable, False

    def _type_text(self, node: Node) -> str | None:
        if isinstance(node, Mapping):
            if _is_opaque(node) and isinstance(node.entries[0].value, Scalar):
                inner = node.entries[0].value.text.strip()
                return f"opaque({inner.removesuffix('?')})" + ("?" if inner.endswith("?") else "")
            self.reader.wrong(node, "a type", "write a type's name, or {opaque: <SQL type>}")
            return None
        if not isinstance(node, Scalar) or not node.text:
            self.reader.wrong(node, "a type", "write it like varchar(255), text[] or int8?")
            return None
        return node.text

    def _enum_module(self, span: Span, module: str, enum: str, written: types.TypeText) -> str:
        """The module that declares an enum; '' when the type is not to be known."""
        diags = self.reader.diags
        if module and module not in self.enums:
            if not self.unread:
                diags.error(
                    span, "S028", f'unknown module "{module}"', remedy(module, self.enums, "module")
                )
            return ""
        where = module or self.module
        known = self.enums.get(where, {})
        if enum not in known:
            if where not in self.gap_modules:
                hint = f'declare an enum, or write "opaque({written.name})": it travels as text'
                if module:
                    hint = remedy(enum, known, "enum")
                else:
                    words = [*types.SPELLINGS, *types.SERIALS, *known, "opaque"]
                    hint = types.unknown_remedy(enum, words, hint)
                diags.error(span, "S017", f'unknown type "{written.name}"', hint)
            return ""
        if written.arguments:
            diags.error(span, "S022", f"enum {enum} takes no arguments", f"write {written.name}")
        return where

    def _identity(self, fields: dict[str, Node], serial: bool) -> Identity:
        if serial:
            if "identity" in fields:
                self.reader.diags.error(
                    fields["identity"].span,
                    "S033",
                    "a serial column has a sequence already",
                    "use int8 with identity, or serial alone",
                )
            return Identity.SERIAL
        if "identity" not in fields:
            return Identity.NONE
        word = self.reader.choice(fields["identity"], IDENTITIES, "identity")
        return {None: Identity.NONE, "always": Identity.ALWAYS, "by_default": Identity.BY_DEFAULT}[
            word
        ]

    def _default(self, name: str, fields: dict[str, Node], type_: Type, serial: bool) -> str:
        sources = [key for key in ("default", "value", "identity", "generated") if key in fields]
        if serial and sources and sources[0] in ("default", "value", "generated"):
            sources.insert(0, "serial")
        if (len(sources) > 1 and sources[0] != "serial") or (
            len(sources) > 1 and sources[1] != "identity"
        ):
            self.reader.diags.error(
                fields[sources[1]].span,
                "S033",
                f'column "{name}" gets its value from both {sources[0]} and {sources[1]}',
                "keep one",
            )
        if "default" in fields:
            return self._expression(fields, "default")
        if "value" in fields and not types.is_unknown(type_):
            return self._literal(fields["value"], type_)
        return ""

    def _literal(self, node: Node, type_: Type) -> str:
        labels = self.enums.get(type_.enum_module, {}).get(type_.name, ())
        try:
            if type_.array:
                if not isinstance(node, Sequence):
                    self.reader.wrong(node, "a list of values", "write [first, second] or []")
                    return ""
                items = [item for item in node.items if isinstance(item, Scalar)]
                if len(items) < len(node.items):
                    self.reader.wrong(node, "a list of plain values", "write [first, second] or []")
                return array_to_sql([item.text for item in items], type_, labels)
            if not isinstance(node, Scalar):
                self.reader.wrong(node, "one value", "write the value, or use 'default' for SQL")
                return ""
            return to_sql(node.text, type_, labels)
        except LiteralProblem as problem:
            self.reader.diags.error(node.span, "S035", str(problem), problem.hint)
            return ""

    # ---- indexes ----

    def _index(self, key: str, span: Span, node: Node, unique: bool, parts: Parts) -> Index | None:
        kind = "unique" if unique else "index"
        part = "unique" if unique else "indexes"
        if isinstance(node, Sequence):
            return Index(span, key, unique, self._items(node))
        fields = self.reader.fields(node, kind, f'{kind} "{key}"')
        if fields is None or "columns" not in fields:
            return None
        include = self._names(fields, "include", parts, (part, key, "include"))
        if "where" in fields:
            parts.places[part, key, "where"] = fields["where"].span
        if "spans_deleted" in fields and self.reader.flag(fields["spans_deleted"], "spans_deleted"):
            parts.spans_deleted.add(key)
        method = "btree"
        if "method" in fields:
            method = self.reader.choice(fields["method"], METHODS, "method") or method
        nulls = fields.get("nulls_not_distinct")
        optional = "optional" in fields and self.reader.flag(fields["optional"], "optional")
        doc = self._text(fields, "doc")
        if optional and not doc:
            self.reader.diags.error(
                fields["optional"].span,
                "S093",
                f'optional index "{key}" does not say what it is for',
                "add doc: what it makes faster, and what it costs",
            )
        predicate = self._predicate(fields)
        if unique and predicate is None and "where" in fields:
            parts.unread_predicates.add(key)
        return Index(
            span,
            key,
            unique,
            self._items(fields["columns"]),
            include=include,
            method=method,
            predicate=predicate,
            nulls_not_distinct=nulls is not None and self.reader.flag(nulls, "nulls_not_distinct"),
            with_options=self._sql(fields, "with"),
            optional=optional,
            doc=doc,
        )

    def _items(self, node: Node) -> tuple[IndexItem, ...]:
        if not isinstance(node, Sequence):
            self.reader.wrong(node, "a list of columns", "write [first, second]")
            return ()
        if not node.items:
            self.reader.diags.error(
                node.span, "S024", "an empty list of columns", "name at least one"
            )
        items = [self._item(item) for item in node.items]
        return tuple(item for item in items if item is not None)

    def _item(self, node: Node) -> IndexItem | None:
        if isinstance(node, Scalar):
            match = _ITEM.fullmatch(node.text.strip())
            if match is None:
                self.reader.diags.error(
                    node.span,
                    "S038",
                    f'"{node.text}" is not a column of an index',
                    'write "column desc nulls last", or {expression: "lower(column)"}',
                )
                return None
            nulls = Nulls((match["nulls"] or "").lower())
            return IndexItem(
                node.span,
                match["name"],
                order=Order((match["order"] or "asc").lower()),
                nulls=nulls,
            )
        fields = self.reader.fields(node, "item", "an index column")
        if fields is None:
            return None
        if ("column" in fields) == ("expression" in fields):
            self.reader.diags.error(
                node.span,
                "S038",
                "an index column is a column or an expression",
                "give one of column and expression",
            )
            return None
        column = self.reader.identifier(fields["column"]) if "column" in fields else None
        order = self._choice(fields, "order", ORDERS) or "asc"
        return IndexItem(
            node.span,
            column.text if column else "",
            self._expression(fields, "expression"),
            self._opclass(fields),
            self._text(fields, "collation"),
            Order(order),
            Nulls(self._choice(fields, "nulls", NULLS) or ""),
        )

    # ---- references and lists ----

    def _foreign_key(self, key: str, span: Span, node: Node, parts: Parts) -> None:
        fields = self.reader.fields(node, "foreign_key", f'foreign key "{key}"')
        if fields is None:
            return
        columns = self._names(fields, "columns", parts, ("foreign_keys", key, "columns"))
        target = self._reference(fields["references"]) if "references" in fields else None
        on_delete = self._choice(fields, "on_delete", ACTIONS) or "no action"
        on_update = self._choice(fields, "on_update", ACTIONS) or "no action"
        deferrable = self._choice(fields, "deferrable", DEFERRABLE) or "no"
        for name in ("references", "on_delete", "on_update"):
            if name in fields:
                parts.places["foreign_keys", key, name] = fields[name].span
        if columns and target:
            parts.foreign_keys.append(
                ForeignKey(
                    span,
                    key,
                    columns,
                    *target,
                    Action(on_delete),
                    Action(on_update),
                    _DEFERRABLE[deferrable],
                )
            )

    def _reference(self, node: Node) -> tuple[str, str, tuple[str, ...]] | None:
        if not isinstance(node, Scalar):
            self.reader.wrong(node, "a reference", "write table(column)")
            return None
        match = _REFERENCE.fullmatch(node.text.strip())
        if match is None:
            self.reader.diags.error(
                node.span,
                "S041",
                f'"{node.text}" is not a reference',
                "write table(column) or module.table(column, column)",
            )
            return None
        columns = tuple(column.strip() for column in match["columns"].split(","))
        self.reader.distinct([Word(column, node.span) for column in columns])
        return match["module"] or self.module, match["table"], columns

    def _list(self, key: str, span: Span, node: Node, parts: Parts) -> None:
        fields = self.reader.fields(node, "list", f'list "{key}"')
        if fields is None:
            return
        by = self._names(fields, "by", parts, ("list", key, "by"))
        order: list[OrderItem] = []
        if "order" in fields:
            if not isinstance(fields["order"], Sequence):
                self.reader.wrong(
                    fields["order"], "a list of columns", "write [first, second desc]"
                )
            else:
                order = [item for item in map(self._order_item, fields["order"].items) if item]
        if "where" in fields:
            parts.places["list", key, "where"] = fields["where"].span
        words = [Word(item.column, item.span) for item in order]
        kept = {word.span for word in self.reader.distinct(words)}
        ordered = tuple(item for item in order if item.span in kept)
        doc = self._text(fields, "doc")
        parts.lists.append(ListSpec(span, key, by, ordered, self._predicate(fields), doc))

    def _order_item(self, node: Node) -> OrderItem | None:
        match = _ITEM.fullmatch(node.text.strip()) if isinstance(node, Scalar) else None
        if match is None or match["nulls"]:
            if isinstance(node, Scalar):
                self.reader.diags.error(
                    node.span,
                    "S038",
                    f'"{node.text}" is not a column to order by',
                    'write "column" or "column desc"',
                )
            else:
                self.reader.wrong(node, "a column to order by", 'write "column" or "column desc"')
            return None
        return OrderItem(node.span, match["name"], Order((match["order"] or "asc").lower()))

    # ---- single keys ----

    def _text(self, fields: dict[str, Node], key: str) -> str:
        return (self.reader.text(fields[key]) or "") if key in fields else ""

    def _opclass(self, fields: dict[str, Node]) -> str:
        sql = self._sql(fields, "opclass")
        if sql and not _OPCLASS.fullmatch(sql):
            message = f'"{sql}" is no operator class'
            hint = "write its name, as in jsonb_path_ops or gist_trgm_ops(siglen=32)"
            self.reader.diags.error(fields["opclass"].span, "S038", message, hint)
            return ""
        return sql

    def _expression(self, fields: dict[str, Node], key: str) -> str:
        return (self.reader.expression(fields[key]) or "") if key in fields else ""

    def _sql(self, fields: dict[str, Node], key: str) -> str:
        return (self.reader.sql(fields[key]) or "") if key in fields else ""

    def _predicate(self, fields: dict[str, Node]) -> Predicate | None:
        return self.reader.predicate(fields["where"]) if "where" in fields else None

    def _choice(self, fields: dict[str, Node], key: str, words: tuple[str, ...]) -> str | None:
        return self.reader.choice(fields[key], words, key) if key in fields else None

    def _name(self, fields: dict[str, Node], key: str, parts: Parts, place: Place) -> str:
        word = self.reader.identifier(fields[key]) if key in fields else None
        if word:
            parts.places[place] = word.span
        return word.text if word else ""

    def _names(
        self, fields: dict[str, Node], key: str, parts: Parts, place: Place
    ) -> tuple[str, ...]:
        if key not in fields:
            return ()
        words = self.reader.identifiers(fields[key], "columns") or ()
        for at, word in enumerate(words):
            parts.places[(*place, at)] = word.span
        return tuple(word.text for word in words)


def _is_opaque(node: Node) -> bool:
    """Whether a mapping is a type, {opaque: <SQL type>}."""
    return isinstance(node, Mapping) and [entry.key.text for entry in node.entries] == ["opaque"]


@dataclass(frozen=True, slots=True)
class _Named:
    text: str
    span: Span
    node: Node
