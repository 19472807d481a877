"""Turns the nodes of schema files into the model: traits merged, enums found, lists completed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeVar

from stele import builtin
from stele.diag import Diagnostics
from stele.draft import Draft, Gaps, Places
from stele.grammar import FOLDS, PARTITIONS
from stele.model import (
    EnumType,
    Follows,
    ListSpec,
    Longest,
    Module,
    Order,
    OrderItem,
    PartitionBy,
    RawObject,
    Schema,
    Span,
    Table,
)
from stele.names import SQL_NAME_MAX, byte_length, too_long
from stele.nodes import Broken, Entry, Mapping, Node, Scalar
from stele.nodes import Sequence as Items
from stele.parts import Enums, Parts, PartsReader
from stele.reader import Reader, Word
from stele.sqltext import transaction_word
from stele.suggest import remedy

INDEX_NAME: Final = "{prefix}{table}_{key}"


@dataclass(slots=True)
class _Source:
    """One file on its way to a module."""

    span: Span
    name: str
    fields: dict[str, Node]
    enums: list[EnumType] = field(default_factory=list)


def resolve(files: Sequence[Mapping], unread: bool, diags: Diagnostics) -> Draft:
    """The draft of all modules. `unread` says that there are files nothing is known of."""
    return _Resolver(Reader(diags), Gaps(files=unread)).run(files)


@dataclass(slots=True)
class _Resolver:
    reader: Reader
    gaps: Gaps
    places: Places = field(default_factory=Places)
    enums: Enums = field(default_factory=dict)
    spans_deleted: set[tuple[str, str, str]] = field(default_factory=set)
    unused_traits: dict[tuple[str, str], Span] = field(default_factory=dict)

    def run(self, files: Sequence[Mapping]) -> Draft:
        sources = self.sources(files)
        for source in sources:
            source.enums = list(self.read_enums(source))
            self.enums[source.name] = {enum.name: enum.labels for enum in source.enums}
        modules = [self.module(source) for source in sources]
        schema = Schema(tuple(sorted(modules, key=lambda module: module.name)))
        return Draft(
            schema, self.places, self.gaps, self.unused_traits, frozenset(self.spans_deleted)
        )

    def sources(self, files: Sequence[Mapping]) -> list[_Source]:
        sources: list[_Source] = []
        seen: dict[str, Span] = {}
        for at, mapping in enumerate(files):
            fields = self.reader.fields(mapping, "module", "the schema") or {}
            word = self.reader.identifier(fields["module"]) if "module" in fields else None
            if word is not None and len(word.text) > SQL_NAME_MAX:
                self.reader.diags.error(word.span, "S055", *too_long("module", word.text))
            if word is None:
                self.gaps.files = True
                word = Word(f"\0{at}", mapping.span)
            elif word.text in seen:
                first = seen[word.text]
                self.reader.diags.error(
                    word.span,
                    "S031",
                    f'module "{word.text}" is declared in {first.path} too',
                    "give each file its own module name",
                )
                word = Word(f"{word.text}\0{at}", word.span)
            seen.setdefault(word.text, word.span)
            sources.append(_Source(word.span, word.text, fields))
        return sources

    # ---- modules ----

    def read_enums(self, source: _Source) -> Iterable[EnumType]:
        if "enums" not in source.fields:
            return
        for entry in self.declared(source, "enums", "name: [label, label]"):
            node, doc = entry.value, ""
            if not isinstance(node, Items):
                fields = self.reader.fields(node, "enum", f'enum "{entry.key.text}"') or {}
                doc = (self.reader.text(fields["doc"]) or "") if "doc" in fields else ""
                node = fields.get("labels", Broken(node.span))
            yield EnumType(entry.key.span, entry.key.text, self.labels(node), doc)

    def declared(self, source: _Source, key: str, example: str) -> tuple[Entry, ...]:
        """Entries of the module's tables or enums; notes when some of them stay unknown."""
        node = source.fields[key]
        entries = self.reader.entries(node, key, example)
        if not isinstance(node, Mapping) or len(entries) < len(node.entries):
            self.gaps.modules.add(source.name)
        return entries

    def labels(self, node: Node) -> tuple[str, ...]:
        if not isinstance(node, Items):
            self.reader.wrong(node, "a list of labels", "write [first, second]")
            return ()
        if not node.items:
            self.reader.diags.error(
                node.span, "S024", "an enum without labels", "name at least one label"
            )
        words = []
        for item in node.items:
            if not isinstance(item, Scalar) or not item.text:
                self.reader.wrong(item, "a label", "write text, in quotes if it is not a word")
            elif byte_length(item.text) > SQL_NAME_MAX:
                self.reader.diags.error(
                    item.span,
                    "S032",
                    f"a label of {byte_length(item.text)} bytes",
                    f"use at most {SQL_NAME_MAX}",
                )
            else:
                words.append(Word(item.text, item.span))
        return tuple(word.text for word in self.reader.distinct(words))

    def module(self, source: _Source) -> Module:
        fields = source.fields
        parts = PartsReader(
            self.reader, source.name, self.enums, frozenset(self.gaps.modules), self.gaps.files
        )
        traits = self.traits(source, parts)
        tables = tuple(self.tables(source, parts, traits))
        fold = self.reader.choice(fields["fold"], FOLDS, "fold") if "fold" in fields else "none"
        for key in ("index_name", "c_prefix"):
            if key in fields:
                self.places.put(source.name, "", (key,), fields[key].span)
        return Module(
            source.span,
            source.name,
            self.text(fields, "doc"),
            self.text(fields, "c_prefix"),
            self.text(fields, "index_name") or INDEX_NAME,
            fold == "lower",
            self.longest(fields),
            tuple(source.enums),
            tables,
        )

    def text(self, fields: dict[str, Node], key: str) -> str:
        return (self.reader.text(fields[key]) or "") if key in fields else ""

    def longest(self, fields: dict[str, Node]) -> Longest:
        if "longest" not in fields:
            return Longest(0, 0)
        sizes = self.reader.fields(fields["longest"], "longest", "longest") or {}
        found = {
            key: self.reader.number(sizes[key], key, SQL_NAME_MAX) or 0
            for key in ("schema", "prefix")
            if key in sizes
        }
        return Longest(found.get("schema", 0), found.get("prefix", 0))

    def traits(self, source: _Source, reader: PartsReader) -> dict[str, Parts]:
        traits: dict[str, Parts] = {}
        if "traits" not in source.fields:
            return traits
        for entry in self.reader.entries(source.fields["traits"], "traits", "name: {columns: …}"):
            what = f'trait "{entry.key.text}"'
            if entry.key.text in builtin.NAMES:
                self.reader.diags.error(
                    entry.key.span, "S091", f"{what} is built in", "rename it, or remove it"
                )
                continue
            fields = self.reader.fields(entry.value, "trait", what)
            parts = reader.read(fields or {})
            parts.whole = parts.whole and fields is not None
            if fields and "doc" in fields:
                self.reader.text(fields["doc"])
            traits[entry.key.text] = parts
            self.unused_traits[source.name, entry.key.text] = entry.key.span
        return traits

    def trait_fields(self, node: Mapping, name: str) -> dict[str, Node]:
        return self.reader.fields(node, "trait", f'trait "{name}"') or {}

    # ---- tables ----

    def tables(
        self, source: _Source, reader: PartsReader, traits: dict[str, Parts]
    ) -> Iterable[Table]:
        if "tables" not in source.fields:
            return
        for entry in self.declared(source, "tables", "name: {columns: …}"):
            fields = self.reader.fields(entry.value, "table", f'table "{entry.key.text}"')
            name = Word(entry.key.text, entry.key.span)
            misspelt = not isinstance(entry.value, Mapping) or len(fields or {}) < len(
                entry.value.entries
            )
            if misspelt and "columns" not in (fields or {}):
                self.gaps.tables.add((source.name, name.text))
            yield self.table(source, name, fields or {}, reader, traits)

    def table(
        self,
        source: _Source,
        name: Word,
        fields: dict[str, Node],
        reader: PartsReader,
        traits: dict[str, Parts],
    ) -> Table:
        own = reader.read(fields)
        for word in self.uses(fields):
            if word.text in builtin.NAMES:
                node = builtin.trait_node(word.text, word.span)
                traits = {**traits, word.text: reader.read(self.trait_fields(node, word.text))}
                self.places.put(source.name, name.text, (word.text,), word.span)
            if word.text not in traits:
                own.whole = False
                self.reader.diags.error(
                    word.span,
                    "S029",
                    f'unknown trait "{word.text}"',
                    remedy(word.text, traits, "trait"),
                )
                continue
            self.unused_traits.pop((source.name, word.text), None)
            self.merge(own, traits[word.text], word)
        if not own.whole:
            self.gaps.tables.add((source.name, name.text))
        if not own.columns and (source.name, name.text) not in self.gaps.tables:
            self.reader.diags.error(
                name.span, "S024", f'table "{name.text}" has no columns', "add 'columns:'"
            )
        return self.build(source, name, fields, own)

    def build(self, source: _Source, name: Word, fields: dict[str, Node], own: Parts) -> Table:
        for place, span in own.places.items():
            self.places.put(source.name, name.text, place, span)
        for role, word in own.roles.items():
            self.places.put(source.name, name.text, (role,), word.span)
        self.spans_deleted.update((source.name, name.text, key) for key in own.spans_deleted)
        for key in own.unread_predicates:
            self.gaps.predicates.add((source.name, name.text, key))
        primary_key = self.words(source, name, fields, "primary_key")
        built_in = [word.text for word in self.uses(fields) if word.text in builtin.NAMES]
        for trait in built_in:
            primary_key = primary_key or builtin.primary_key(trait)
        distribute = self.words(source, name, fields, "distribute_by")
        renamed = self.words(source, name, fields, "renamed_from")
        roles = {role: word.text for role, word in own.roles.items()}
        table = Table(
            name.span,
            name.text,
            tuple(own.columns),
            primary_key,
            tuple(own.uniques + own.indexes),
            tuple(own.foreign_keys),
            tuple(own.checks),
            tuple(complete_list(spec, primary_key) for spec in own.lists),
            tuple(self.objects(fields)),
            touch=roles.get("touch", ""),
            ttl=roles.get("ttl", ""),
            soft_delete=roles.get("soft_delete", ""),
            version=roles.get("version", ""),
            partition_by=self.partition(source, name, fields),
            follows=self.follows(source, name, fields),
            jobs=builtin.JOBS in built_in,
            storage=", ".join(builtin.storage(trait) for trait in built_in),
            distribute_by=distribute[0] if distribute else "",
            large="large" in fields and self.reader.flag(fields["large"], "large"),
            doc=self.text(fields, "doc"),
            renamed_from=renamed[0] if renamed else "",
        )
        return table

    def uses(self, fields: dict[str, Node]) -> tuple[Word, ...]:
        return (self.reader.identifiers(fields["use"], "traits") or ()) if "use" in fields else ()

    def words(
        self, source: _Source, table: Word, fields: dict[str, Node], key: str
    ) -> tuple[str, ...]:
        """The name or, for the primary key, the names under a key; their places are noted."""
        if key not in fields:
            return ()
        node = fields[key]
        if key == "primary_key" and isinstance(node, Items):
            words = self.reader.identifiers(node, "columns") or ()
        else:
            word = self.reader.identifier(node)
            words = (word,) if word else ()
        self.places.put(source.name, table.text, (key,), node.span)
        for at, word in enumerate(words):
            self.places.put(source.name, table.text, (key, at), word.span)
        return tuple(word.text for word in words)

    def partition(
        self, source: _Source, table: Word, fields: dict[str, Node]
    ) -> PartitionBy | None:
        if "partition_by" not in fields:
            return None
        keys = self.reader.fields(fields["partition_by"], "partition_by", "partition_by") or {}
        method = (
            self.reader.choice(keys["method"], PARTITIONS, "method") if "method" in keys else None
        )
        words = (
            (self.reader.identifiers(keys["columns"], "columns") or ()) if "columns" in keys else ()
        )
        self.places.put(source.name, table.text, ("partition_by",), fields["partition_by"].span)
        for at, word in enumerate(words):
            self.places.put(source.name, table.text, ("partition_by", at), word.span)
        return PartitionBy(method, tuple(word.text for word in words)) if method and words else None

    def follows(self, source: _Source, table: Word, fields: dict[str, Node]) -> Follows | None:
        if "follows" not in fields:
            return None
        keys = self.reader.fields(fields["follows"], "follows", "follows") or {}
        self.places.put(source.name, table.text, ("follows",), fields["follows"].span)
        other = self.reader.identifier(keys["table"]) if "table" in keys else None
        if other:
            self.places.put(source.name, table.text, ("follows", "table"), other.span)
        names: dict[str, tuple[str, ...]] = {}
        for key in ("columns", "to"):
            words = (self.reader.identifiers(keys[key], "columns") or ()) if key in keys else ()
            for at, word in enumerate(words):
                self.places.put(source.name, table.text, ("follows", key, at), word.span)
            names[key] = tuple(word.text for word in words)
        if not other or not names["columns"] or ("to" in keys and not names["to"]):
            return None
        to = names["to"] or names["columns"]
        return Follows(fields["follows"].span, other.text, names["columns"], to)

    def objects(self, fields: dict[str, Node]) -> Iterable[RawObject]:
        if "objects" not in fields:
            return
        for entry in self.reader.entries(fields["objects"], "objects", "name: {create: |"):
            keys = self.reader.fields(entry.value, "object", f'object "{entry.key.text}"') or {}
            sql = self.reader.sql(keys["create"], statements=True) if "create" in keys else None
            word = transaction_word(sql) if sql else ""
            if word:
                self.reader.diags.error(
                    keys["create"].span,
                    "S094",
                    f"{word} would end the transaction in which tables are created",
                    "remove it",
                )
            elif sql:
                yield RawObject(entry.key.span, entry.key.text, sql)

    # ---- traits into tables ----

    def merge(self, own: Parts, trait: Parts, use: Word) -> None:
        """Adds what a trait brings; a name that is there already is an error."""

        def clash(what: str, name: str) -> None:
            self.reader.diags.error(
                use.span,
                "S030",
                f'trait "{use.text}" brings {what} "{name}", which the table has already',
                "rename or remove one",
            )

        columns = {column.name for column in own.columns}
        for column in trait.columns:
            if column.name in columns:
                clash("column", column.name)
            else:
                own.columns.append(column)
        for role, word in trait.roles.items():
            if role in own.roles:
                clash(role, word.text)
            else:
                own.roles[role] = word
        _extend(own.uniques, trait.uniques, lambda key: clash("unique", key))
        _extend(own.indexes, trait.indexes, lambda key: clash("index", key))
        _extend(own.foreign_keys, trait.foreign_keys, lambda key: clash("foreign key", key))
        _extend(own.checks, trait.checks, lambda key: clash("check", key))
        _extend(own.lists, trait.lists, lambda key: clash("list", key))
        for place, span in trait.places.items():
            own.places.setdefault(place, span)
        own.spans_deleted |= trait.spans_deleted
        own.unread_predicates |= trait.unread_predicates
        own.whole = own.whole and trait.whole


class _Keyed(Protocol):
    @property
    def key(self) -> str: ...


_K = TypeVar("_K", bound=_Keyed)


def _extend(own: list[_K], more: list[_K], clash: Callable[[str], None]) -> None:
    keys = {item.key for item in own}
    for item in more:
        if item.key in keys:
            clash(item.key)
        else:
            own.append(item)


def complete_list(spec: ListSpec, primary_key: tuple[str, ...]) -> ListSpec:
    """The list with the primary key behind its order, so that no two rows stand level.

    Columns that are given or ordered by already are left out. The direction is that of the last
    column, so that one comparison of rows can resume a page.
    """
    present = set(spec.by) | {item.column for item in spec.order}
    direction = spec.order[-1].order if spec.order else Order.ASC
    rest = tuple(
        OrderItem(spec.span, column, direction) for column in primary_key if column not in present
    )
    return replace(spec, order=spec.order + rest)
