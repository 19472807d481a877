"""What templates see: names and finished lines, no decisions left."""

from __future__ import annotations

from dataclasses import dataclass

from stele.layout import COLUMNS, LITERAL_MAX, c_string, literal_lines, row
from stele.sql import Part


@dataclass(frozen=True, slots=True)
class StructView:
    name: str
    doc: str
    body: str  # members, one per line


@dataclass(frozen=True, slots=True)
class ArrayView:
    """A constant array; `kind` is the type of its items."""

    kind: str
    name: str
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StmtView:
    """A constant struct of stele_gen_<kind>; members as (name, value)."""

    kind: str
    name: str
    members: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class FunctionView:
    """A public function. `kind` chooses its body; the rest are finished lines of it."""

    kind: str  # one, optional, upsert, value, exec, page, resume, dup
    doc: str
    head: str  # as the header declares it
    define: str  # as the source defines it
    setup: tuple[str, ...]  # what comes before the rest of the body
    call: str  # runs the descriptor
    without: str = ""  # the same for a caller who wants nothing back
    result: str = ""  # type of the page
    upserted: str = ""  # declares what an upsert got


@dataclass(frozen=True, slots=True)
class BlockView:
    """A function and the descriptors that are first used by it."""

    arrays: tuple[ArrayView, ...]
    stmts: tuple[StmtView, ...]
    function: FunctionView | None
    off: bool  # too wide for clang-format: keep it away from the descriptors


@dataclass(frozen=True, slots=True)
class ScopeView:
    """The function that turns a filter's scopes into flags."""

    define: str
    members: tuple[tuple[str, str], ...]  # member, flag suffix: ("deleted", "DELETED")


@dataclass(frozen=True, slots=True)
class TableView:
    name: str
    heading: str
    row: StructView
    structs: tuple[StructView, ...]  # all others but the page, in order
    page: StructView
    has_pages: bool
    functions: tuple[FunctionView, ...]
    row_type: str
    row_free: str  # heads of the functions that are written in the header
    row_autofree: str
    page_type: str
    page_free: str
    page_autofree: str
    page_token: str
    upserted: str  # type of an upsert's result, '' without upserts
    constants: tuple[str, ...]
    scope: ScopeView | None
    blocks: tuple[BlockView, ...]
    iter: str  # declares an incomplete type, '' for none
    inlines: tuple[InlineView, ...]
    jobs: StmtView | None = None  # what workers take, of a queue


@dataclass(frozen=True, slots=True)
class InlineView:
    """A function that is written in the header."""

    doc: str
    head: str
    body: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RowsView:
    """A type for rows and their count, and what frees it."""

    struct: StructView
    functions: tuple[InlineView, ...]


@dataclass(frozen=True, slots=True)
class QueryView:
    enums: tuple[StructView, ...]  # choices; the body is that of an enum
    structs: tuple[StructView, ...]
    opaque: str  # an incomplete type, '' for none
    block: BlockView
    function: FunctionView
    queue: FunctionView | None  # its form for pipelines
    inlines: tuple[InlineView, ...]


@dataclass(frozen=True, slots=True)
class EnumView:
    name: str
    doc: str
    body: str
    labels: str  # constant that holds them
    texts: BlockView
    type_name: str
    name_head: str
    name_define: str
    name_body: str
    name_doc: str
    parse_head: str
    parse_define: str
    parse_body: str
    parse_doc: str


@dataclass(frozen=True, slots=True)
class ModuleView:
    name: str
    source: str  # base name of the schema file
    guard: str
    doc: str
    module: str  # the C constant
    includes: tuple[str, ...]  # headers of modules whose enums are used
    public: bool
    enums: tuple[EnumView, ...]
    tables: tuple[TableView, ...]
    catalog: tuple[BlockView, ...]
    members: tuple[tuple[str, str], ...]  # of the module's constant
    rows: tuple[RowsView, ...] = ()  # of tables whose rows queries return
    queries: tuple[QueryView, ...] = ()
    has_jobs: bool = False


def part_row(part: Part) -> str:
    """A part as a line, or lines, of its array."""
    macro = f"    STELE_{part.macro}"
    arguments = [str(number) for number in part.numbers]
    if part.flags:
        arguments.append(" | ".join(part.flags))
    if part.shared:
        arguments.append(part.shared)
    if part.text is None:
        return f"{macro}({', '.join(arguments)})," if arguments else f"{macro},"
    if arguments:
        return f"{macro}({', '.join([*arguments, c_string(part.text)])}),"
    lead = f"{macro}("
    pieces: list[list[str]] = [[]]
    size = 0
    for line in literal_lines(part.text, COLUMNS - len(lead), 2):
        size += len(line.encode())
        if size > LITERAL_MAX:
            pieces.append([])
            size = len(line.encode())
        pieces[-1].append(line)
    between = f"\n{' ' * len(lead)}"
    return "\n".join(f"{lead}{between.join(lines)})," for lines in pieces)


def parts_array(name: str, parts: tuple[Part, ...]) -> ArrayView:
    return ArrayView("stele_gen_part", name, tuple(part_row(part) for part in parts))


def rows_array(kind: str, name: str, rows: list[tuple[str, ...]]) -> ArrayView:
    return ArrayView(f"stele_gen_{kind}", name, tuple(row(items) for items in rows))


def too_wide(arrays: tuple[ArrayView, ...], stmts: tuple[StmtView, ...]) -> bool:
    """Whether clang-format would lay these out in another way than one item to a line."""
    if any(_columnar(array) for array in arrays):
        return True
    lines = [f"static const {a.kind} {a.name}[] = {{" for a in arrays]
    lines += [line for a in arrays for text in a.rows for line in text.split("\n")]
    for stmt in stmts:
        lines.append(f"static const stele_gen_{stmt.kind} {stmt.name} = {{")
        lines += [f"    .{member} = {value}," for member, value in stmt.members]
    return any(len(line) > COLUMNS for line in lines)


def _columnar(array: ArrayView) -> bool:
    """Whether clang-format would set the items side by side: five or more that are short."""
    widths = [len(text.strip()) for text in array.rows]
    if len(widths) < 5 or any("\n" in text for text in array.rows):
        return False
    for count in range(2, len(widths) + 1):
        columns = [max(widths[start::count]) for start in range(count)]
        if sum(columns) + count - 1 <= COLUMNS - 4:
            return True
    return False
