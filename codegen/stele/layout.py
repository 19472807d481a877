"""How C text is laid out, so that clang-format (see the top folder's settings) leaves it alone."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

COLUMNS: Final = 100
INDENT: Final = "    "
LITERAL_MAX: Final = 4000  # bytes; compilers need not take a literal of more than 4,095


def c_string(text: str) -> str:
    """A C string literal; what is not ASCII stands as it is (UTF-8)."""
    if text.isascii() and text.isprintable() and not set(text) & set('\\"?'):
        return f'"{text}"'
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    out = []
    for char in text:
        if char in escapes:
            out.append(escapes[char])
        elif ord(char) < 0x20 or ord(char) == 0x7F:
            out.append(f"\\{ord(char):03o}")
        elif char == "?" and out and out[-1] == "?":
            out.append("\\?")  # no trigraphs
        else:
            out.append(char)
    return '"' + "".join(out) + '"'


def comment_text(text: str) -> str:
    """Text that cannot end the comment it stands in."""
    return " ".join(text.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?").split())


def _width(text: str) -> int:
    """Columns that text takes; clang-format counts wide characters as two."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def fill(words: Iterable[str], first: str, rest: str, limit: int = COLUMNS) -> list[str]:
    """Words, set into lines that begin with `first` and then `rest`, as many in each as fit."""
    lines: list[str] = []
    line = first
    empty = True
    for word in words:
        if empty:
            line += word
        elif _width(line) + 1 + _width(word) <= limit:
            line += " " + word
        else:
            lines.append(line)
            line = rest + word
        empty = False
    lines.append(line)
    return lines


def comment(text: str, indent: str = "") -> str:
    """A one-paragraph comment; more lines get a block."""
    text = comment_text(text)
    single = f"{indent}/* {text} */"
    if _width(single) <= COLUMNS:
        return single
    lines = fill(text.split(" "), f"{indent} * ", f"{indent} * ")
    return "\n".join([f"{indent}/*", *lines, f"{indent} */"])


def doc_comment(text: str, notes: Sequence[tuple[str, str]] = ()) -> str:
    """A doc comment: a promise, then notes such as ("Errors", "STELE_E_NOT_FOUND.")."""
    text = comment_text(text)
    single = f"/** {text} */"
    if not notes and _width(single) <= COLUMNS:
        return single
    lines = ["/**", *fill(text.split(" "), " * ", " * ")]
    if notes:
        lines.append(" *")
    width = max((len(name) for name, _ in notes), default=0) + 1
    for name, note in notes:
        head = f"{name}:".ljust(width)
        lines += fill(comment_text(note).split(" "), f" * {head} ", " * " + " " * (width + 1))
    return "\n".join([*lines, " */"])


# What clang-format 14 charges for a break in a declaration, as far as it decides between ours.
_COST_FIRST = 15
_COST_PARAMETER = 41
_COST_PARENTHESIS = 140
_COST_NAME = 95
_COST_NAME_AFTER_MACRO = 130
_COST_OVER = 1000000


def prototype(prefix: str, name: str, params: Sequence[str], tail: str) -> str:
    """A function's head: `prefix` its attributes and type, `tail` a semicolon or nothing.

    Laid out as cheaply as clang-format would: parameters behind the parenthesis, or below it, the
    name on a line of its own or not.
    """
    words = [param + "," for param in params[:-1]] + [params[-1] + ")" + tail]
    tight = "" if prefix.endswith("*") else " "  # the asterisk sticks to the name
    after_macro = prefix.startswith("STELE_") and " static " not in prefix
    name_cost = _COST_NAME_AFTER_MACRO if after_macro else _COST_NAME
    ways: list[tuple[int, list[str]]] = []
    heads: list[tuple[list[str], str, int]] = [
        ([], f"{prefix}{tight}{name}(", 0),
        ([prefix], f"{name}(", name_cost),
    ]
    for lead, head, cost in heads:
        behind = fill(words, head, " " * _width(head))
        below = [head, *fill(words, INDENT, INDENT)]
        for lines, more in (
            (behind, _COST_PARAMETER * (len(behind) - 1)),
            (below, _COST_PARENTHESIS + _COST_PARAMETER * (len(below) - 2)),
        ):
            more += _COST_FIRST if len(lines) > 1 else 0
            over = sum(max(0, _width(line) - COLUMNS) for line in [*lead, *lines])
            ways.append((cost + more + over * _COST_OVER, [*lead, *lines]))
    return "\n".join(min(ways, key=lambda way: way[0])[1])


def statement(left: str, right: str, depth: int = 1) -> str:
    """An assignment, or a declaration with a value, `depth` blocks deep."""
    indent = INDENT * depth
    line = f"{indent}{left} = {right};"
    return line if _width(line) <= COLUMNS else f"{indent}{left} =\n{indent}{INDENT}{right};"


def row(items: Sequence[str]) -> str:
    """One brace row of an array."""
    words = [item + "," for item in items[:-1]] + [items[-1] + "},"]
    return "\n".join(fill(words, INDENT + "{", INDENT + " "))


def literal_lines(text: str, room: int, more: int) -> list[str]:
    """String literals that together are `text`, broken after newlines and at spaces.

    `room` is what the literals may take with their quotes, `more` what follows the last one.
    """
    chunks: list[str] = []
    for line in text.splitlines(keepends=True):
        rest = line
        while _width(c_string(rest)) + more > room:
            cut = _cut(rest, room)
            if cut <= 0:
                break
            chunks.append(rest[:cut])
            rest = rest[cut:]
        chunks.append(rest)
    # A newline alone, or a line break before a lone tail, joins what precedes.
    joined: list[str] = []
    for chunk in chunks:
        both = joined[-1] + chunk if joined else ""
        if joined and not joined[-1].strip("\n") and _width(c_string(both)) + more <= room:
            joined[-1] = both
        else:
            joined.append(chunk)
    return [c_string(chunk) for chunk in joined] or ['""']


def _cut(text: str, room: int) -> int:
    """Where to cut: after the last space whose literal fits, else after the first space."""
    best = 0
    for i, char in enumerate(text):
        if char == " " and text[i + 1 :].strip():
            if _width(c_string(text[: i + 1])) > room:
                return best or i + 1
            best = i + 1
    return best


def fields(lines: Sequence[tuple[str, str, str]], enums: frozenset[str] = frozenset()) -> str:
    """Members of a struct: (comment above, declaration, comment behind); '' for none.

    Comments behind adjacent lines are aligned; where one does not fit, all of them stand above.
    """
    out: list[str] = []
    run: list[tuple[str, str]] = []

    def flush() -> None:
        width = max((_width(text) for text, _ in run), default=0)
        behind = [f"{text}{' ' * (width - _width(text))} /* {note} */" for text, note in run]
        if all(_width(line) <= COLUMNS for line in behind):
            out.extend(behind)
        else:
            for text, note in run:
                out.extend((comment(note, INDENT), text))
        run.clear()

    for above, text, note in _elaborated(lines, enums):
        line = INDENT + text
        if above:
            flush()
            out.append(comment(above, INDENT))
        if note:
            run.append((line, comment_text(note)))
        else:
            flush()
            out.append(line)
    flush()
    return "\n".join(out)


def _elaborated(
    lines: Sequence[tuple[str, str, str]], enums: frozenset[str]
) -> Iterator[tuple[str, str, str]]:
    """In C++ a member hides a type of its name from its struct, unless that says what it is."""
    names = {text[:-1].rpartition(" ")[2] for _, text, _ in lines if text.endswith(";")}
    for above, text, note in lines:
        kind = text.partition(" ")[0]
        if text.endswith(";") and kind in names:
            text = f"{'enum' if kind in enums else 'struct'} {text}"
        yield above, text, note
