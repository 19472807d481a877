"""Judges a resolved schema: everything that would fail, or surprise, on the server or in C."""

from __future__ import annotations

from stele.check_columns import check_columns
from stele.check_follows import check_follows
from stele.check_jobs import check_jobs
from stele.check_keys import check_keys
from stele.check_names import check_names
from stele.check_references import check_references
from stele.diag import Diagnostics
from stele.draft import Draft
from stele.view import Tables


def check(draft: Draft, diags: Diagnostics) -> None:
    """Reports every problem of the draft."""
    tables = Tables.of(draft, diags)
    for view in tables.views:
        check_columns(view)
        check_keys(view)
        check_references(view, tables)
        check_follows(view, tables)
        check_jobs(view)
    check_names(draft, diags)
    for (_, name), span in sorted(draft.unused_traits.items()):
        diags.warning(span, "W104", f'trait "{name}" is used by no table', "use it, or remove it")
