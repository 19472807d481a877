"""The forms of functions that wait for nothing: in pipelines, and row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from stele.layout import doc_comment, prototype, statement
from stele.lower_view import FunctionView, InlineView

_PIPELINE: Final = "stele_pipeline *pipeline"
_ERR: Final = "stele_error *err"
_SLOTS: Final = {
    "one": "ROW",
    "optional": "ROW",
    "upsert": "UPSERTED",
    "value": "VALUE",
    "exec": "EXEC",
}
_MUST: Final = "STELE_MUST_CHECK stele_status"
_MUST_INLINE: Final = "STELE_MUST_CHECK static inline stele_status"


def is_queued(kind: str) -> bool:
    """Whether functions of this kind have a form for pipelines."""
    return kind in _SLOTS or kind == "page"


def queue_function(
    kind: str,
    name: str,
    params: Sequence[str],  # of the function: the connection, inputs, outputs, the error
    setup: Sequence[str],  # lines that make args, and flags if there are any
    descriptor: str,
    flags: str,
    upserted: str = "",
) -> FunctionView:
    """The `_queue` form of a table's function."""
    inputs = list(params[1:-1])
    what = f"{name}() in a pipeline: "
    what += "*page is replaced" if kind == "page" else "what it gives is there"
    what += " when stele_pipeline_sync() succeeds."
    if kind == "exec" and not inputs[-1].endswith("ret_count"):
        inputs.append("uint64_t *ret_count")
    if kind == "optional" and name.endswith("_update"):
        inputs.append("uint64_t *ret_count")
    if inputs[-1] == "uint64_t *ret_count" and kind != "value":
        what += " `ret_count` may be NULL; 0 says that there was no such row"
        what += " (or version)." if kind == "optional" else "."
    elif kind == "one":
        what += " A row that is not found leaves NULL."
    lines = list(setup)
    if kind == "page":
        lines.append(statement("const stele_gen_list *list", descriptor))
        call = f"return stele_gen_queue_page(pipeline, list, args, {flags}, limit, page, err);"
    else:
        lines.append(statement("const stele_gen_stmt *stmt", descriptor))
        wanted = [one.split("*")[-1] for one in inputs if "*ret_" in one]
        lines += _slot(kind, wanted, upserted)
        if kind == "optional" or kind == "upsert":
            given = " || ".join(f"{one} != NULL" for one in wanted if one != "ret_count")
            lines.append(statement("uint32_t flags", f"{given} ? STELE_FLAG_RETURNING : 0"))
            flags = "flags"
        call = f"return stele_gen_queue(pipeline, stmt, args, {flags}, &slot, err);"
    full = f"{name}_queue"
    all_params = [_PIPELINE, *inputs, _ERR]
    return FunctionView(
        kind="queue",
        doc=doc_comment(what),
        head=prototype(_MUST, full, all_params, ";"),
        define=prototype("stele_status", full, all_params, ""),
        setup=tuple(lines),
        call=call,
    )


def _slot(kind: str, outputs: Sequence[str], upserted: str) -> list[str]:
    lines = [f"    stele_gen_slot slot = {{.kind = STELE_GEN_SLOT_{_SLOTS[kind]}}};"]
    if kind == "upsert":
        lines.append(statement("slot.offset", f"offsetof({upserted}, inserted)"))
        return [*lines, "    slot.out = ret_row;", "    slot.count = ret_inserted;"]
    for output in outputs:
        is_count = kind != "value" and output == "ret_count"
        lines.append(f"    slot.{'count' if is_count else 'out'} = {output};")
    return lines


def queue_query(
    kind: str,  # ROW, LIST, EXEC
    name: str,
    params: Sequence[str],
    output: str,
    has_args: bool,
    switched: bool,
) -> FunctionView:
    """The `_queue` form of a query."""
    full = f"{name}_queue"
    inputs = list(params[1:-1])
    if kind == "EXEC" and not output:
        inputs.append("uint64_t *ret_count")
        output = "ret_count"
    lines = [statement("const stele_gen_stmt *stmt", f"&{name}_stmt")]
    if has_args:
        lines.append("    const void *args[] = {params};")
    lines.append(f"    stele_gen_slot slot = {{.kind = STELE_GEN_SLOT_{kind}}};")
    lines.append(f"    slot.{'count' if kind == 'EXEC' else 'out'} = {output};")
    if switched:
        lines.append("    uint32_t flags;")
        lines.append("    stele_status st = stele_gen_flags(stmt, params, &flags, err);")
    args = "args" if has_args else "NULL"
    what = f"{name}() in a pipeline: what it gives is there when stele_pipeline_sync() succeeds."
    if kind == "ROW":
        what += " Without a row there is NULL."
    elif kind == "EXEC":
        what += " `ret_count` may be NULL."
    all_params = [_PIPELINE, *inputs, _ERR]
    return FunctionView(
        kind="exec_switched" if switched else "exec",
        doc=doc_comment(what),
        head=prototype(_MUST, full, all_params, ";"),
        define=prototype("stele_status", full, all_params, ""),
        setup=tuple(lines),
        call=(
            f"stele_gen_queue(pipeline, stmt, {args}, {'flags' if switched else '0'}, &slot, err);"
        ),
    )


def iterator(name: str, row: str) -> tuple[InlineView, ...]:
    """What reads on and ends an open iterator."""
    return (
        InlineView(
            doc_comment("The next row, borrowed until the next call; STELE_DONE at the end."),
            prototype(
                _MUST_INLINE,
                f"{name}_next",
                [f"{name} *iter", f"const {row} **ret_row", _ERR],
                "",
            ),
            (
                "    const void *row = NULL;",
                "    stele_status st = stele_gen_iter_next(iter, &row, err);",
                "    if (st == STELE_OK)",
                f"        *ret_row = (const {row} *)row;",
                "    return st;",
            ),
        ),
        InlineView(
            doc_comment("Ends it, read to the end or not; the connection can be used again."),
            prototype("static inline void", f"{name}_close", [f"{name} *iter"], ""),
            ("    stele_gen_iter_close(iter);",),
        ),
        InlineView(
            doc_comment(f"For STELE_AUTO({name})."),
            prototype("static inline void", f"{name}_autofree", [f"{name} **iter"], ""),
            ("    stele_gen_iter_close(*iter);",),
        ),
    )
