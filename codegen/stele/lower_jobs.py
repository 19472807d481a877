"""The statements of a queue of jobs: what enqueues, claims, renews and ends them.

A claim skips what others hold and takes it in a materialised list, which is made once whatever the
plan. Who ends or renews a job names its token; a statement on several jobs never waits for a lock,
so that it cannot wait for one who waits for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stele.layout import doc_comment, prototype, statement
from stele.lower_stmt import Stmt
from stele.lower_view import FunctionView, StmtView, parts_array, rows_array
from stele.sql import Part, merge, param, sql
from stele.sql import table as table_part

_NOW: Final = "statement_timestamp()"
_MS: Final = "interval '1 millisecond'"
_ARRAY: Final = " | STELE_GEN_ARRAY"


@dataclass(frozen=True, slots=True)
class _Spec:
    """A statement: its text, with {t} for the table and {name} for parameters, and its structs.

    Parameters and columns are members of the structs, as "name:TYPE"; a question mark behind a
    column's type makes it nullable, behind a parameter's wraps it in an option.
    """

    verb: str
    text: str
    takes: str  # struct of the parameters, '' for one plain int64_t
    params: tuple[str, ...]
    gives: str = ""
    columns: tuple[str, ...] = ()
    reads: bool = False


_NEW: Final = ("kind:TEXT", "key:TEXT?", "args:JSONB?", "max_attempts:INT4", "priority:INT2")
_HELD: Final = ("ids:INT8[]", "tokens:INT8[]")
_FAILED: Final = ("id:INT8", "token:INT8", "gen:INT8")
_ENDED: Final = ("id:INT8", "ended:BOOL", "again:BOOL", "held:BOOL")

# The index still holds what was claimed before, as long as anybody's snapshot is as old. A claim
# does not walk over that: of the priority that the last one had reached it begins at the time. So
# there are three walks, each along a range of the index, and none begins before the one before it
# is through.
_AVAILABLE: Final = f"""\
SELECT a.place FROM (
SELECT t.ctid AS place FROM {{{{t}}}} AS t
WHERE t.state = 'available' AND t.kind = k.kind AND t.run_at <= {_NOW}
  AND {{where}}
ORDER BY t.priority DESC, t.run_at, t.id
LIMIT k.room
FOR UPDATE OF t SKIP LOCKED
) AS a
"""
_IN_ORDER: Final = (
    "t.priority > k.priority",
    "t.priority = k.priority AND t.run_at >= k.start",
    "t.priority < k.priority",
)

# The rows that someone has, by their places: those locked meanwhile are left out. They are found by
# their ids, never by walking over all that run; hence the odd way to ask for the state.
_MINE: Final = """\
WITH mine AS MATERIALIZED (
SELECT t.ctid AS place{more}
FROM unnest({{ids}}, {{tokens}}{gens}) AS u(id, token{gen})
JOIN {{t}} AS t ON t.id = u.id AND t.token = u.token
WHERE (t.state = 'running') IS TRUE
FOR UPDATE OF t SKIP LOCKED
)"""
_FINISH: Final = f"""\
UPDATE {{t}} AS t
SET state = CASE WHEN t.gen > %s THEN 'available' ELSE 'done' END, done_gen = %s,
  finished_at = CASE WHEN t.gen > %s THEN NULL ELSE {_NOW} END,
  attempt = CASE WHEN t.gen > %s THEN 0 ELSE t.attempt END, lease_until = NULL, last_error = NULL"""
# Which of them ended; and of the others, which are still had, so that it can be tried again.
_TOLD: Final = """\
SELECT u.id, e.id IS NOT NULL AS ended, coalesce(e.again, false) AS again,
  e.id IS NULL AND EXISTS (SELECT FROM {{t}} AS t
    WHERE t.id = u.id AND t.token = u.token AND (t.state = 'running') IS TRUE) AS held
FROM {of}
LEFT JOIN ended AS e ON e.id = u.id"""
# A generation that is newer than the one that failed has its attempts before it.
_DIES: Final = "t.gen = {gen} AND ({dead} OR {counts} AND t.attempt >= t.max_attempts)"

_SPECS: Final = (
    _Spec(
        "enqueue",
        "INSERT INTO {t} AS t (kind, dedupe_key, args, max_attempts, priority, run_at)\n"
        "VALUES ({kind}, {key}, {args}, {max_attempts}, {priority},\n"
        f"  coalesce({{at}}, {_NOW}) + {{delay_ms}} * {_MS})\n"
        "ON CONFLICT (kind, dedupe_key) WHERE dedupe_key IS NOT NULL\n"
        "DO UPDATE SET gen = t.gen + 1, args = EXCLUDED.args, finished_at = NULL,\n"
        "  max_attempts = EXCLUDED.max_attempts,\n"
        "  state = CASE t.state WHEN 'running' THEN t.state ELSE 'available' END,\n"
        # What runs may fail for the last time now, and there is something new to do.
        "  attempt = CASE t.state WHEN 'available' THEN t.attempt ELSE 0 END,\n"
        "  priority = CASE t.state WHEN 'available' THEN greatest(t.priority, EXCLUDED.priority)\n"
        "    ELSE EXCLUDED.priority END,\n"
        "  run_at = CASE WHEN t.state <> 'available' THEN EXCLUDED.run_at\n"
        "    WHEN t.attempt > 0 THEN t.run_at ELSE least(t.run_at, EXCLUDED.run_at) END\n"
        "RETURNING t.id",
        "new",
        (*_NEW, "at:TIMESTAMPTZ?", "delay_ms:INT8"),
        "job_id",
        ("id:INT8",),
    ),
    # Parameters in subqueries: else the plan would be made anew for the numbers of each claim.
    _Spec(
        "claim",
        "WITH picked AS MATERIALIZED (\nSELECT c.place\n"
        "FROM unnest((SELECT {kinds}), (SELECT {rooms}), (SELECT {priorities}), (SELECT {froms}))\n"
        "  AS k(kind, room, priority, start)\n"
        "CROSS JOIN LATERAL (\n"
        + "UNION ALL\n".join(_AVAILABLE.format(where=where) for where in _IN_ORDER)
        + "LIMIT k.room\n) AS c\nLIMIT (SELECT {most})\n)\nUPDATE {t} AS t\n"
        "SET state = 'running', attempt = t.attempt + 1, token = t.token + 1,\n"
        f"  lease_until = {_NOW} + {{lease_ms}} * {_MS}\n"
        "WHERE t.ctid = ANY (ARRAY(SELECT p.place FROM picked AS p))\n"
        "RETURNING t.id, t.kind, t.dedupe_key, t.args, t.gen, t.token, t.attempt, t.max_attempts,\n"
        f"  t.priority, greatest(0, date_part('epoch', {_NOW} - t.run_at) * 1000)::int8\n"
        "    AS waited_ms, t.run_at",
        "claim",
        (
            *("kinds:TEXT[]", "rooms:INT8[]", "priorities:INT4[]", "froms:TIMESTAMPTZ[]"),
            *("most:INT8", "lease_ms:INT8"),
        ),
        "job_claimed",
        (
            *("id:INT8", "kind:TEXT", "key:TEXT?", "args:JSONB?", "gen:INT8", "token:INT8"),
            *("attempt:INT4", "max_attempts:INT4", "priority:INT2", "waited_ms:INT8"),
            "run_at:TIMESTAMPTZ",
        ),
    ),
    _Spec(
        "finish",
        _MINE.format(more=", u.gen", gens=", {gens}", gen=", gen")
        + ", ended AS (\n"
        + _FINISH.replace("%s", "m.gen")
        + "\nFROM mine AS m\nWHERE t.ctid = m.place\n"
        "RETURNING t.id, t.state = 'available' AS again\n)\n"
        + _TOLD.format(of="unnest({ids}, {tokens}) AS u(id, token)"),
        "held",
        (*_HELD, "gens:INT8[]"),
        "job_ended",
        _ENDED,
    ),
    _Spec(
        "finish_one",
        _FINISH.replace("%s", "{gen}")
        + "\nWHERE t.id = {id} AND t.token = {token} AND t.state = 'running'\n"
        "RETURNING t.id, true AS ended, t.state = 'available' AS again, false AS held",
        "failed",
        _FAILED,
        "job_ended",
        _ENDED,
    ),
    _Spec(
        "fail",
        "WITH mine AS MATERIALIZED (\nSELECT t.ctid AS place FROM {t} AS t\n"
        "WHERE t.id = {id} AND t.token = {token} AND (t.state = 'running') IS TRUE\n"
        "FOR UPDATE OF t SKIP LOCKED\n), ended AS (\nUPDATE {t} AS t\n"
        f"SET state = CASE WHEN {_DIES} THEN 'dead' ELSE 'available' END,\n"
        f"  run_at = CASE WHEN {_DIES} THEN t.run_at\n    ELSE {_NOW} + {{delay_ms}} * {_MS} END,\n"
        f"  finished_at = CASE WHEN {_DIES} THEN {_NOW} END,\n"
        "  attempt = CASE WHEN {counts} THEN t.attempt ELSE greatest(t.attempt - 1, 0) END,\n"
        "  last_error = coalesce({message}, t.last_error), lease_until = NULL\n"
        "WHERE t.ctid = ANY (ARRAY(SELECT m.place FROM mine AS m))\n"
        "RETURNING t.id, t.state = 'available' AS again\n)\n"
        + _TOLD.format(of="(SELECT {id} AS id, {token} AS token) AS u"),
        "failed",
        (*_FAILED, "delay_ms:INT8", "counts:BOOL", "dead:BOOL", "message:TEXT?"),
        "job_ended",
        _ENDED,
    ),
    _Spec(
        "renew",
        _MINE.format(more="", gens="", gen="")
        + f", renewed AS (\nUPDATE {{t}} AS t\nSET lease_until = {_NOW} + {{lease_ms}} * {_MS}\n"
        "FROM mine AS m\nWHERE t.ctid = m.place\nRETURNING t.id\n)\n"
        "SELECT u.id, EXISTS (SELECT FROM renewed AS r WHERE r.id = u.id) AS renewed,\n"
        "  EXISTS (SELECT FROM {t} AS t\n"
        "    WHERE t.id = u.id AND t.token = u.token AND (t.state = 'running') IS TRUE) AS held\n"
        "FROM unnest({ids}, {tokens}) AS u(id, token)",
        "held",
        (*_HELD, "lease_ms:INT8"),
        "job_renewed",
        ("id:INT8", "renewed:BOOL", "held:BOOL"),
    ),
    _Spec(
        "give_back",
        _MINE.format(more="", gens="", gen="")
        + "\nUPDATE {t} AS t\nSET state = 'available', attempt = greatest(t.attempt - 1, 0),\n"
        "  lease_until = NULL\nFROM mine AS m\nWHERE t.ctid = m.place",
        "held",
        _HELD,
    ),
    _Spec(
        "rescue",
        "WITH lost AS MATERIALIZED (\nSELECT t.id FROM {t} AS t\n"
        f"WHERE t.state = 'running' AND t.lease_until < {_NOW}\nORDER BY t.id\n"
        "LIMIT {limit}\nFOR UPDATE OF t SKIP LOCKED\n), moved AS (\nUPDATE {t} AS t\n"
        "SET state = CASE WHEN t.attempt >= t.max_attempts THEN 'dead' ELSE 'available' END,\n"
        f"  finished_at = CASE WHEN t.attempt >= t.max_attempts THEN {_NOW} END,\n"
        "  lease_until = NULL, last_error = 'the lease ran out'\n"
        "WHERE t.id = ANY (ARRAY(SELECT l.id FROM lost AS l))\nRETURNING t.state\n)\n"
        "SELECT count(*) FILTER (WHERE m.state = 'available') AS again,\n"
        "  count(*) FILTER (WHERE m.state = 'dead') AS dead\nFROM moved AS m",
        "",
        ("limit:INT8",),
        "job_rescued",
        ("again:INT8", "dead:INT8"),
    ),
    _Spec(
        "purge_ended",
        "WITH seen AS MATERIALIZED (\nSELECT t.id FROM {t} AS t\nWHERE t.id > {from}\n"
        "ORDER BY t.id\nLIMIT {limit}\n), doomed AS MATERIALIZED (\nSELECT t.id FROM {t} AS t\n"
        "WHERE t.id = ANY (ARRAY(SELECT s.id FROM seen AS s))\n"
        "  AND t.state IN ('done', 'cancelled')\n"
        f"  AND t.finished_at < {_NOW} - {{keep_ms}} * {_MS}\n"
        "  AND (t.dedupe_key IS NULL OR t.finished_at < "
        f"{_NOW} - {{keep_key_ms}} * {_MS})\n"
        "FOR UPDATE OF t SKIP LOCKED\n), gone AS (\nDELETE FROM {t} AS t\n"
        "WHERE t.id = ANY (ARRAY(SELECT d.id FROM doomed AS d))\nRETURNING 1\n)\n"
        "SELECT (SELECT count(*) FROM seen) AS seen, (SELECT count(*) FROM gone) AS gone,\n"
        "  (SELECT coalesce(max(s.id), 0) FROM seen AS s) AS high",
        "purge",
        ("from:INT8", "limit:INT8", "keep_ms:INT8", "keep_key_ms:INT8"),
        "job_purged",
        ("seen:INT8", "gone:INT8", "high:INT8"),
    ),
    _Spec(
        "cancel",
        "UPDATE {t} AS t\n"
        f"SET state = 'cancelled', token = t.token + 1, lease_until = NULL, finished_at = {_NOW}\n"
        "WHERE t.id = {id} AND t.state IN ('available', 'running')",
        "",
        ("id:INT8",),
    ),
    _Spec(
        "revive",
        "UPDATE {t} AS t\n"
        f"SET state = 'available', attempt = 0, run_at = {_NOW}, finished_at = NULL\n"
        "WHERE t.id = {id} AND t.state IN ('dead', 'cancelled')",
        "",
        ("id:INT8",),
    ),
    _Spec(
        "tick",
        "INSERT INTO {t} AS t (kind, dedupe_key, args, max_attempts, priority, run_at)\n"
        "SELECT {kind}, {key}, {args}, {max_attempts}, {priority}, {at}\n"
        f"WHERE {_NOW} < {{at}} + {{late_ms}} * {_MS}\n"
        "ON CONFLICT (kind, dedupe_key) WHERE dedupe_key IS NOT NULL DO NOTHING",
        "tick",
        (*_NEW, "at:TIMESTAMPTZ", "late_ms:INT8"),
    ),
    _Spec(
        "depth",
        f"SELECT count(*) FILTER (WHERE t.run_at <= {_NOW}) AS due,\n"
        f"  count(*) FILTER (WHERE t.run_at > {_NOW}) AS later,\n"
        "  (SELECT count(*) FROM {t} AS r WHERE r.state = 'running') AS running,\n"
        "  (SELECT count(*) FROM {t} AS d WHERE d.state = 'dead') AS dead,\n"
        f"  coalesce(greatest(0, extract(epoch FROM {_NOW} - min(t.run_at)) * 1000), 0)::int8\n"
        "    AS oldest_due_ms\nFROM {t} AS t\nWHERE t.state = 'available'",
        "",
        (),
        "job_depth",
        ("due:INT8", "later:INT8", "running:INT8", "dead:INT8", "oldest_due_ms:INT8"),
        reads=True,
    ),
    _Spec(
        "clock",
        "SELECT clock_timestamp() AS at",
        "",
        (),
        "job_clock",
        ("at:TIMESTAMPTZ",),
        reads=True,
    ),
)

_TAKES: Final = {
    "new": "stele_gen_job_new",
    "claim": "stele_gen_job_claim",
    "held": "stele_gen_jobs_held",
    "failed": "stele_gen_job_failed",
    "purge": "stele_gen_job_purge",
    "tick": "stele_gen_job_tick",
}


def job_statements(base: str, table: str) -> tuple[Stmt, ...]:
    """Everything that workers and callers run on the queue."""
    return tuple(_stmt(base, table, spec) for spec in _SPECS)


def job_descriptor(base: str, module: str, table: str) -> StmtView:
    """The constant that names the statements."""
    members = [("module", f"&{module}"), ("name", f'"{table}"')]
    for spec in _SPECS:
        member = "purge" if spec.verb == "purge_ended" else spec.verb
        members.append((member, f"&{base}_jobs_{spec.verb}_stmt"))
    return StmtView("jobs", f"{base}_jobs", tuple(members))


def _stmt(base: str, table: str, spec: _Spec) -> Stmt:
    name = f"{base}_jobs_{spec.verb}"
    params = [_param(spec, one) for one in spec.params]
    names = [one.split(":")[0] for one in spec.params]
    parts: list[Part] = []
    for piece in re.split(r"(\{\w+\})", spec.text):
        if piece == "{t}":
            parts.append(table_part(table))
        elif piece.startswith("{") and piece.endswith("}"):
            parts.append(param(names.index(piece[1:-1])))
        else:
            parts.append(sql(piece))
    merged = merge(parts)
    arrays = []
    members: list[tuple[str, str]] = []
    if spec.columns:
        struct = f"stele_gen_{spec.gives}"
        rows = [_column(struct, one) for one in spec.columns]
        arrays.append(rows_array("column", f"{name}_columns", rows))
        members.append(("row_size", f"sizeof({struct})"))
    if params:
        arrays.append(rows_array("param", f"{name}_params", params))
    arrays.append(parts_array(f"{name}_parts", merged))
    members.append(("shape_from", str(len(params))))
    if spec.reads:
        members.append(("properties", "STELE_STMT_READ"))
    return Stmt(name, tuple(arrays), tuple(members), merged, tuple(params))


def _param(spec: _Spec, text: str) -> tuple[str, ...]:
    member, kind = text.split(":")
    form = "STELE_GEN_OPT" if kind.endswith("?") else "STELE_GEN_PLAIN"
    gen = "STELE_GEN_" + kind.rstrip("?").replace("[]", _ARRAY)
    offset = f"offsetof({_TAKES[spec.takes]}, {member})" if spec.takes else "0"
    return (f'"{member}"', gen, form, "true", "0", offset, "0", "NULL")


def _column(struct: str, text: str) -> tuple[str, ...]:
    member, kind = text.split(":")
    nullable = "true" if kind.endswith("?") else "false"
    gen = f"STELE_GEN_{kind.rstrip('?')}"
    return (f'"{member}"', gen, nullable, f"offsetof({struct}, {member})", "NULL")


def job_functions(base: str) -> tuple[FunctionView, ...]:
    """What callers of the queue have: typed by its name, run by the runtime."""
    job = "const stele_job_input *job"
    made = [
        _function(
            f"{base}_enqueue",
            ["stele_conn *conn", job, "int64_t *ret_id"],
            "Enqueues a job in the transaction of `conn`; see stele_job_enqueue().",
            f"return stele_job_enqueue(conn, &{base}_jobs, job, ret_id, err);",
        ),
        _function(
            f"{base}_enqueue_queue",
            ["stele_pipeline *pipeline", job, "int64_t *ret_id"],
            f"{base}_enqueue() in a pipeline: `ret_id` is there when stele_pipeline_sync()"
            " succeeds.",
            f"return stele_job_enqueue_queue(pipeline, &{base}_jobs, job, ret_id, err);",
        ),
    ]
    for verb, what in (
        ("cancel", "Cancels a job that waits or runs; see stele_job_cancel()."),
        ("revive", "Has a dead or canceled job wait again; see stele_job_revive()."),
    ):
        made.append(
            _function(
                f"{base}_{verb}",
                ["stele_conn *conn", "int64_t id"],
                what,
                f"return stele_job_{verb}(conn, &{base}_jobs, id, err);",
            )
        )
    return tuple(made)


def _function(name: str, params: Sequence[str], doc: str, call: str) -> FunctionView:
    all_params = [*params, "stele_error *err"]
    setup: tuple[str, ...] = ()
    if len(call) > 96:
        left, right = call.split("&", 1)
        table, rest = right.split(",", 1)
        setup = (statement("const stele_jobs_table *table", f"&{table}"),)
        call = f"{left}table,{rest}"
    return FunctionView(
        kind="plain",
        doc=doc_comment(doc),
        head=prototype("STELE_MUST_CHECK stele_status", name, all_params, ";"),
        define=prototype("stele_status", name, all_params, ""),
        setup=setup,
        call=call,
    )
