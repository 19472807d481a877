"""The front half of the generator: schema files in, model or diagnostics out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from stele.check import check
from stele.diag import Diagnostics
from stele.load import load_file
from stele.model import Schema, Span
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
        if path.is_dir():
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
