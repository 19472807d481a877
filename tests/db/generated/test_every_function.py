"""No function that the generator wrote for a table is left uncalled by these tests."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

FUNCTION = re.compile(r"\b(\w+)\((?=[^()]*\)\s*;)")


def declared(header: Path) -> set[str]:
    """The functions that a header declares; those it defines itself have no semicolon."""
    text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.DOTALL)
    prototypes = re.findall(r"^STELE_MUST_CHECK stele_status\s[^;{]*;", text, re.MULTILINE)
    return {match for text in prototypes for match in FUNCTION.findall(text)}


@pytest.fixture(scope="module")
def called(build: Path) -> set[str]:
    """What the objects of the test programs leave for the linker to find."""
    objects = sorted((build / "tests/db/generated").glob("generated_*.p/*_test.c.o"))
    assert objects
    command = ["nm", "--undefined-only", "--format=just-symbols", *map(str, objects)]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize(
    ("header", "query", "least"),
    [
        ("tests/db/generated/shop.gen.h", "shop_shop_", 200),
        ("generated/sessions.gen.h", "sessions_", 100),
    ],
    ids=["shop", "sessions"],
)
def test_every_function_is_called(
    build: Path, called: set[str], header: str, query: str, least: int
) -> None:
    # A _queue form runs the descriptor of the function that it is named after. Bulk writes run on
    # tables made for them, in tests/db/bulk; `stele verify` prepares what they send for these. A
    # queue of jobs has its tests in tests/db/jobs, on a table of the same trait.
    left_out = f"^{query}|^session_summary_jobs_|_queue$|_(insert|upsert)_many"
    functions = {name for name in declared(build / header) if not re.search(left_out, name)}
    assert len(functions) >= least
    assert sorted(functions - called) == []
