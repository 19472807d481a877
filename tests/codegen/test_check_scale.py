"""Reading a schema takes time in proportion to its size."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from stele.diag import Diagnostics
from stele.frontend import read_schema
from stele.model import Schema

TABLE = """\
  t{n}:
    use: [stamped]
    columns:
      id: bigserial
      name: varchar(80)
      parent_id: {{type: "int8?", references: t{parent}(id)}}
      price: {{type: "numeric(12,2)", default: 0, check: "price >= 0"}}
      state: state
    primary_key: id
    unique:
      name: [name]
    indexes:
      parent: [parent_id]
      made: {{columns: [created_at desc], where: "price > 0"}}
    list:
      newest: {{by: [parent_id], order: [created_at desc]}}
"""
HEAD = """\
module: big
enums: {state: [open, closed]}
traits:
  stamped:
    columns: {created_at: {type: timestamptz, default: CURRENT_TIMESTAMP}}
tables:
"""


def write(tmp_path: Path, count: int) -> Path:
    path = tmp_path / f"{count}.yaml"
    tables = (TABLE.format(n=n, parent=n // 2) for n in range(count))
    path.write_text(HEAD + "".join(tables))
    return path


def read(path: Path) -> Schema:
    diags = Diagnostics()
    schema = read_schema([path], diags)
    assert schema is not None and not diags.items
    return schema


def calls(path: Path) -> int:
    """How many functions reading a file calls, Python's and C's: the same every time."""
    count = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        read(path)
    finally:
        sys.setprofile(None)
    return count


def seconds(path: Path) -> float:
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        read(path)
        best = min(best, time.process_time() - start)
    return best


def test_a_thousand_tables_take_four_times_as_much_as_a_quarter(tmp_path: Path) -> None:
    small, big = write(tmp_path, 250), write(tmp_path, 1000)
    assert len(read(big).modules[0].tables) == 1000
    assert calls(big) < 4.2 * calls(small)
    # What loops inside one call shows in time only: sixteenfold, each time. A busy machine is not
    # busy five times over just when the big one is read.
    assert any(seconds(big) < 8 * seconds(small) for _ in range(5))


def refuse(path: Path, count: int) -> float:
    """How long reading so many mistakes takes."""
    diags = Diagnostics()
    start = time.process_time()
    assert read_schema([path], diags) is None
    took = time.process_time() - start
    assert [item.code for item in diags.sorted()] == ["S017"] * count
    return took


def test_a_thousand_mistakes_too(tmp_path: Path) -> None:
    few, many = write(tmp_path, 250), write(tmp_path, 1000)
    for path in (few, many):
        path.write_text(path.read_text().replace(": state\n", ": sate\n"))
    assert any(refuse(many, 1000) < 10 * refuse(few, 250) for _ in range(5))
