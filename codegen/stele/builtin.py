"""The traits that every module has without declaring them, written as a module would write them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from stele.diag import Diagnostics
from stele.load import load_text
from stele.model import Span
from stele.nodes import Entry, Mapping, Node, Scalar, Sequence

JOBS: Final = "jobs"

# The states are words, so that who looks at the table by hand can read them. A key stays with its
# row in all of them: that makes a scheduled job one, however late the last process asks for it.
_JOBS: Final = """\
doc: A durable queue of jobs.
columns:
  id: bigserial
  kind: {type: varchar(100), doc: Which handler does it.}
  dedupe_key: {type: varchar(255)?, doc: Jobs of one kind and key are one.}
  gen: {type: int8, value: 1, doc: How often it was enqueued.}
  done_gen: {type: int8, value: 0, doc: The generation that was done last.}
  state: {type: text, value: available}
  priority: {type: int2, value: 0, doc: Greater goes first among jobs of a kind.}
  run_at: {type: timestamptz, default: "now()", doc: Not before.}
  attempt: {type: int4, value: 0}
  max_attempts: {type: int4, value: 25}
  token: {type: int8, value: 0, doc: Raised by every claim; who has it can end the job.}
  lease_until: {type: timestamptz?, doc: Then others may have it.}
  args: jsonb?
  last_error: text?
  created_at: {type: timestamptz, default: "now()"}
  finished_at: timestamptz?
checks:
  state_known: "state IN ('available', 'running', 'done', 'dead', 'cancelled')"
unique:
  dedupe: {columns: [kind, dedupe_key], where: "dedupe_key IS NOT NULL"}
indexes:
  available: {columns: [kind, "priority desc", run_at, id], where: "state = 'available'"}
  held: {columns: [state, id], where: "state IN ('running', 'dead')"}
"""

_TEXTS: Final = {JOBS: _JOBS}
NAMES: Final = tuple(_TEXTS)

# Rows are updated several times in a short life: room on the page, and vacuum before they pile up.
_STORAGE: Final = {
    JOBS: "fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, "
    "autovacuum_analyze_scale_factor = 0.02"
}


def primary_key(trait: str) -> tuple[str, ...]:
    return ("id",) if trait == JOBS else ()


def storage(trait: str) -> str:
    return _STORAGE[trait]


def trait_node(trait: str, span: Span) -> Mapping:
    """A trait as it would have been read at `span`, which all of its parts say they stand at."""
    diags = Diagnostics()
    node = load_text(f"<{trait}>", _TEXTS[trait], diags)
    assert node is not None and not diags.items
    placed = _placed(node, span)
    assert isinstance(placed, Mapping)
    return placed


def _placed(node: Node, span: Span) -> Node:
    if isinstance(node, Mapping):
        entries = []
        for entry in node.entries:
            entries.append(Entry(replace(entry.key, span=span), _placed(entry.value, span)))
        return Mapping(span, tuple(entries))
    if isinstance(node, Sequence):
        return Sequence(span, tuple(_placed(item, span) for item in node.items))
    assert isinstance(node, Scalar)
    return replace(node, span=span)
