"""Reads a schema file into nodes, and refuses what YAML would let through by surprise."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from stele.diag import Diagnostics
from stele.model import Span
from stele.names import TURNS_TEXT
from stele.nodes import Broken, Entry, Mapping, Node, Scalar, Sequence, Style

# libyaml's parser where PyYAML has it: the same events, several times faster.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_DEPTH_MAX: Final = 24  # the language needs 7
_LINE_BREAK: Final = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|" + TURNS_TEXT
)
_STYLES: Final = {"'": Style.SINGLE, '"': Style.DOUBLE, "|": Style.BLOCK, ">": Style.BLOCK}


def load_file(path: Path, diags: Diagnostics) -> Mapping | None:
    """The top mapping of a file; None when there is none, which has been reported then."""
    start = Span(path.as_posix(), 1, 1)
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or "unreadable"
        diags.error(
            start, "S001", f"cannot read the file: {reason}", "check the path and its permissions"
        )
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        span = _place(start.path, before, len(before))
        diags.error(
            span, "S004", f"byte 0x{data[error.start]:02x} is not UTF-8", "save the file as UTF-8"
        )
        return None
    return load_text(start.path, text, diags)


def load_text(path: str, text: str, diags: Diagnostics) -> Mapping | None:
    """As load_file, for the text of a file."""
    bad = _UNPRINTABLE.search(text)
    if bad:
        span = _place(path, text, bad.start())
        diags.error(
            span,
            "S004",
            f"character U+{ord(bad.group()):04X} may not stand in a schema file",
            "remove it",
        )
        return None
    builder = _Builder(path, _LINE_BREAK.split(text), diags)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if not builder.take(event):
                break
    except yaml.MarkedYAMLError as error:
        builder.syntax_error(error)
        return None
    except yaml.YAMLError as error:
        message = str(error).splitlines()[0]
        diags.error(Span(path, 1, 1), "S002", f"not valid YAML: {message}", "correct the syntax")
        return None
    return builder.result()


def _place(path: str, text: str, offset: int) -> Span:
    breaks = list(_LINE_BREAK.finditer(text, 0, offset))
    start = breaks[-1].end() if breaks else 0
    return Span(path, len(breaks) + 1, offset - start + 1)


@dataclass(slots=True)
class _Frame:
    """A collection that is still open."""

    span: Span
    mapping: bool
    flow: bool
    items: list[Node] = field(default_factory=list)
    ends: list[tuple[int, int]] = field(default_factory=list)  # line and column after each item


@dataclass(slots=True)
class _Builder:
    """Turns parser events into nodes."""

    path: str
    lines: list[str]
    diags: Diagnostics
    stack: list[_Frame] = field(default_factory=list)
    root: Node | None = None
    documents: int = 0

    def take(self, event: Any) -> bool:
        """Takes one event; False when there is no use in reading on."""
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents == 2:
                self.diags.error(
                    self.span(event.start_mark),
                    "S009",
                    "a second document starts here",
                    "keep one module in one file, without '---' between",
                )
                return False
        elif isinstance(event, yaml.AliasEvent):
            span = self.span(event.start_mark)
            self.diags.error(
                span,
                "S005",
                f'alias "*{event.anchor}" is not allowed',
                "write the value out, or use a trait",
            )
            self.add(Broken(span), event)
        elif isinstance(event, yaml.ScalarEvent):
            self.refuse_properties(event)
            self.add(self.scalar(event), event)
        elif isinstance(event, yaml.CollectionStartEvent):
            return self.open(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self.close(event)
        return True

    def span(self, mark: Any) -> Span:
        return Span(self.path, mark.line + 1, mark.column + 1)

    def refuse_properties(self, event: Any) -> None:
        span = self.span(event.start_mark)
        if event.anchor is not None:
            self.diags.error(
                span,
                "S005",
                f'anchor "&{event.anchor}" is not allowed',
                "write the value out, or use a trait",
            )
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self.diags.error(
                span,
                "S006",
                f'tag "{tag}" is not allowed',
                "remove it: every value is read as text",
            )

    def scalar(self, event: Any) -> Scalar:
        style = _STYLES.get(event.style, Style.PLAIN)
        commented = False
        if style is Style.PLAIN and event.end_mark.line < len(self.lines):
            rest = self.lines[event.end_mark.line][event.end_mark.column :]
            commented = rest.lstrip(" \t").startswith("#")
        return Scalar(self.span(event.start_mark), event.value, style, commented)

    def open(self, event: Any) -> bool:
        self.refuse_properties(event)
        span = self.span(event.start_mark)
        if len(self.stack) >= _DEPTH_MAX:
            self.diags.error(
                span,
                "S011",
                f"nested more than {_DEPTH_MAX} levels deep",
                "no part of a schema needs that",
            )
            return False
        mapping = isinstance(event, yaml.MappingStartEvent)
        self.stack.append(_Frame(span, mapping, bool(event.flow_style)))
        return True

    def add(self, node: Node, event: Any) -> None:
        if self.stack:
            self.stack[-1].items.append(node)
            self.stack[-1].ends.append((event.end_mark.line, event.end_mark.column))
        else:
            self.root = node

    def close(self, event: Any) -> None:
        frame = self.stack.pop()
        if not frame.mapping:
            items = self.uncut_sequence(frame) if frame.flow else frame.items
            self.add(Sequence(frame.span, tuple(items)), event)
            return
        pairs = self.uncut_mapping(frame) if frame.flow else self.pairs(frame)
        self.add(Mapping(frame.span, self.entries(pairs)), event)

    @staticmethod
    def pairs(frame: _Frame) -> list[tuple[Node, Node]]:
        return list(zip(frame.items[0::2], frame.items[1::2], strict=True))

    def entries(self, pairs: list[tuple[Node, Node]]) -> tuple[Entry, ...]:
        seen: dict[str, Span] = {}
        entries = []
        for key, value in pairs:
            if not isinstance(key, Scalar):
                if not isinstance(key, Broken):
                    self.diags.error(
                        key.span, "S011", "a key must be plain text", "write 'key: value'"
                    )
                continue
            if key.text == "<<" and key.style is Style.PLAIN:
                self.diags.error(
                    key.span,
                    "S007",
                    'merge key "<<" is not allowed',
                    "use a trait to share parts of tables",
                )
                continue
            if key.text in seen:
                first = seen[key.text].line
                self.diags.error(
                    key.span,
                    "S008",
                    f'key "{key.text}" stands here twice (first in line {first})',
                    "remove or rename one",
                )
                continue
            seen[key.text] = key.span
            entries.append(Entry(key, value))
        return tuple(entries)

    def uncut_mapping(self, frame: _Frame) -> list[tuple[Node, Node]]:
        """The pairs of a flow mapping, less the fragments of values that a comma cut off."""
        pairs: list[tuple[Node, Node]] = []
        for at, (key, value) in enumerate(self.pairs(frame)):
            fragment = isinstance(value, Scalar) and _is_empty(value) and isinstance(key, Scalar)
            if not fragment or not pairs or not self.was_cut(pairs[-1][1]):
                pairs.append((key, value))
                continue
            before = pairs[-1][1]
            if isinstance(before, Scalar):
                self.report_cut(before, frame.ends[2 * at])
            pairs[-1] = (pairs[-1][0], Broken(before.span))
        return pairs

    def uncut_sequence(self, frame: _Frame) -> list[Node]:
        items: list[Node] = []
        cut: Scalar | None = None
        for item, end in zip(frame.items, frame.ends, strict=True):
            plain = isinstance(item, Scalar) and item.style is Style.PLAIN
            if cut is not None and isinstance(item, Scalar) and plain:
                if ")" in item.text:
                    self.report_cut(cut, end)
                    cut = None
                continue
            items.append(item)
            if isinstance(item, Scalar) and plain and item.text.count("(") > item.text.count(")"):
                cut = item
                items[-1] = Broken(item.span)
        if cut is not None:
            self.report_cut(cut, frame.ends[-1])
        return items

    @staticmethod
    def was_cut(value: Node) -> bool:
        return isinstance(value, Broken) or (
            isinstance(value, Scalar) and value.style is Style.PLAIN and value.text != ""
        )

    def report_cut(self, value: Scalar, end: tuple[int, int]) -> None:
        whole = value.text + ","
        if end[0] + 1 == value.span.line and end[0] < len(self.lines):
            whole = self.lines[end[0]][value.span.column - 1 : end[1]]
        self.diags.error(
            value.span,
            "S012",
            f'YAML cut this value at a comma: "{value.text}"',
            f'put it in double quotes: "{whole}"',
        )

    def syntax_error(self, error: yaml.MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        if mark is None:
            self.diags.error(
                Span(self.path, 1, 1),
                "S002",
                f"not valid YAML: {error.problem}",
                "correct the syntax",
            )
            return
        line = self.lines[mark.line] if mark.line < len(self.lines) else ""
        indent = line[: len(line) - len(line.lstrip())]
        if "\t" in indent and mark.column <= len(indent):
            span = Span(self.path, mark.line + 1, indent.index("\t") + 1)
            self.diags.error(span, "S003", "a tab in the indentation", "indent with spaces")
            return
        at = line[mark.column : mark.column + 1]
        hint = "correct the syntax"
        if "a flow" in (error.context or "") and at not in ("[", "{", "?"):
            hint = "close it, and put a value that holds a bracket or a comma in double quotes"
        elif at and at in "[]{}?":
            hint = f"a value that holds '{at}' must stand in double quotes here"
        elif at and at in "@`%&*!|>":
            hint = f"a value that starts with '{at}' must stand in double quotes"
        elif at == ":":
            hint = "a value that holds ': ' must stand in double quotes"
        elif at == "\t":
            hint = "use spaces"
        context = f"{error.context}, " if error.context else ""
        self.diags.error(
            self.span(mark),
            "S002",
            f"not valid YAML: {context}{error.problem}",
            hint,
        )

    def result(self) -> Mapping | None:
        if isinstance(self.root, Mapping):
            return self.root
        if self.stack or isinstance(self.root, Broken) or self.documents > 1:
            return None
        span = self.root.span if self.root is not None else Span(self.path, 1, 1)
        if self.root is None or (isinstance(self.root, Scalar) and _is_empty(self.root)):
            self.diags.error(
                span, "S010", "the file holds no schema", "begin with 'module: <name>'"
            )
        else:
            self.diags.error(
                span, "S010", "a schema file is a mapping", "begin with 'module: <name>'"
            )
        return None


def _is_empty(value: Scalar) -> bool:
    return value.style is Style.PLAIN and value.text == ""
