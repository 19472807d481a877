"""The front half of the generator: schema files in, model or diagnostics out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from stele.check import check
from stele.diag import Diagnostics
from stele.load import load_file
from stele.model import Schema, Span
from stele.query_load import has_queries
from stele.query_resolve import add_queries
from stele.resolve import resolve


def read_schema(paths: Sequence[Path], diags: Diagnostics) -> Schema | None:
    """The schema in the given files, with the queries in the .sql files beside them.

    A folder stands for its *.yaml.

    Every problem of every file is reported into `diags`, in places named as the paths were given.
    None when there is an error among them. The order of `paths` makes no difference.
    """
    files = schema_files(paths, diags)
    loaded = [load_file(path, diags) for path in files]
    mappings = [mapping for mapping in loaded if mapping is not None]
    draft = add_queries(resolve(mappings, len(mappings) < len(loaded), diags), diags)
    check(draft, diags)
    return None if diags.failed else draft.schema


def schema_files(paths: Sequence[Path], diags: Diagnostics) -> list[Path]:
    """The files that the paths stand for, sorted, each once."""
    files: dict[str, Path] = {}
    for path in paths:
        if path.suffix == ".sql" and path.is_file():
            span = Span(path.as_posix(), 1, 1)
            hint = f"name {path.with_suffix('.yaml').as_posix()}: its queries come along"
            diags.error(span, "S001", "a query file is read with its schema file", hint)
            continue
        if path.is_dir():
            _lone_queries(path, diags)
            inside = sorted(item for item in path.glob("*.yaml") if item.is_file())
            if not inside:
                span = Span(path.as_posix(), 1, 1)
                diags.error(
                    span, "S001", "the folder holds no schema file", "add one called <module>.yaml"
                )
        else:
            inside = [path]
        for item in inside:
            files.setdefault(os.path.normpath(item), item)
    return [files[key] for key in sorted(files)]


def _lone_queries(folder: Path, diags: Diagnostics) -> None:
    """Warns of query files without a schema file: nothing is generated for them."""
    for path in sorted(folder.glob("*.sql")):
        if not path.with_suffix(".yaml").is_file() and has_queries(path):
            diags.warning(
                Span(path.as_posix(), 1, 1),
                "W105",
                "no schema file lies beside these queries",
                f"call it like the schema file, or add {path.stem}.yaml",
            )
