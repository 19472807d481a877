"""Checks of tables that are queues of jobs: what would change what their statements mean."""

from __future__ import annotations

from stele.model import Identity
from stele.view import View


def check_jobs(view: View) -> None:
    table = view.table
    if not table.jobs:
        return
    wrong: list[tuple[str, str]] = []
    if table.primary_key != ("id",):
        wrong.append(("primary_key", "another primary key than its id"))
    if table.follows:
        wrong.append(("follows", "rows that follow those of another"))
    if table.partition_by:
        wrong.append(("partition_by", "partitions, which its key would have to hold"))
    if table.distribute_by:
        wrong.append(("distribute_by", "servers to be spread over"))
    for role in ("touch", "ttl", "soft_delete", "version"):
        if getattr(table, role):
            wrong.append((role, f"the policy '{role}'"))
    for place, what in wrong:
        view.diags.error(
            view.at(place),
            "S092",
            f'the queue "{table.name}" has {what}',
            f"remove '{place}': the workers look after the rows",
        )
    for column in table.columns:
        made = column.default or column.generated or column.identity is not Identity.NONE
        if not column.nullable and not made and column.span != view.at("jobs"):
            view.diags.error(
                column.span,
                "S092",
                f'the queue "{table.name}" needs "{column.name}", which enqueuing does not set',
                "make it nullable, give it a default, or keep it in the arguments",
            )
