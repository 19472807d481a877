"""Whatever a query file holds, reading it gives queries or diagnostics and changes no literal."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOP = Path(__file__).resolve().parents[2]
CASES = 20_000

PIECES = (
    *("'", "''", '"', "$$", "$a$", "/*", "*/", "--", "-- name: x :one\n", "\n", "\r\n", "\r"),
    *("{", "}", "{orders o}", "{o.*}", "{live o}", "{now}", "{=status}", "{x.*}", "{ }"),
    *("/*?if a*/", "/*?if flag*/", "/*?end*/", "/*?by sort one*/", "/*?or two: :a*/", "/*?"),
    *(":a", ":b", "::", ":", ":é", "[1:2]", "[:a:2]", "E'\\'", "e'", "\\", "U&'", "$1", "$"),
    *(";", "(", ")", "[", "]", ",", "?", "?|", "@>", "\0", "é", "\U0001f600", "\ufeff", "\t", " "),
    *("-- param a: int8\n", "-- return o: orders.*\n", "-- plan: custom\n", "-- param b: text?\n"),
    *("SELECT ", "FROM ", "RETURNING ", "WITH x AS (", "LIMIT :a", "o.id = :a", "*", "= ANY("),
)

SEEDS = (
    "-- name: find :many\n-- param a: int8\n-- param b: text\n-- return o: orders.*\n"
    "SELECT {o.*} FROM {orders o} WHERE o.id = :a AND o.name <> 'it''s :a' -- :b 'x\n"
    "  /*?if b*/ AND o.name = :b::text /*?end*/ AND {live o}\n"
    "ORDER BY /*?by sort id*/ o.id /*?or name: o.name, $q$ :a $q$*/ /*?end*/ LIMIT :a;\n",
    "-- name: put :exec\n-- param tags: orders.tags\n"
    "INSERT INTO {orders o} (name, tags) VALUES ($$:no$$, :tags), (E'\\'{no}', :tags[1:2]);\n",
    "-- name: odd :one\n-- return n: int8\n"
    "/* {no} /* nested */ ' */ SELECT \"a:b\"[1:2] FROM {=lines};\n",
)


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("query_fuzz", TOP / "tests/fuzz/query_fuzz.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["query_fuzz"] = module
    spec.loader.exec_module(module)
    return module


def mutated(chance: random.Random) -> str:
    """A seed, cut, doubled and strewn with what means something to the reader."""
    text = chance.choice(SEEDS)
    for _ in range(chance.randint(1, 6)):
        at = chance.randint(0, len(text))
        end = min(len(text), at + chance.randint(0, 12))
        match chance.randint(0, 3):
            case 0:
                text = text[:at] + text[end:]
            case 1:
                text = text[:end] + text[at:]
            case _:
                text = text[:at] + chance.choice(PIECES) + text[at:]
    return text


def test_mutations(fuzz: ModuleType) -> None:
    chance = random.Random(20)
    for _ in range(CASES):
        text = mutated(chance)
        try:
            fuzz.check(text)
        except Exception as problem:
            raise AssertionError(f"on {text!r}") from problem


def test_the_seeds_are_fine(fuzz: ModuleType) -> None:
    """Otherwise the mutations would never come far."""
    for seed in SEEDS:
        fuzz.check(seed)


def test_pieces_alone(fuzz: ModuleType) -> None:
    for one in PIECES:
        for two in PIECES:
            fuzz.check(f"-- name: q :exec\n{one}{two}")


def test_the_corpus(fuzz: ModuleType) -> None:
    files = fuzz.corpus()
    assert len(files) >= 20
    for path in files:
        fuzz.check_bytes(path.read_bytes())


def test_a_long_file_is_read_in_proportion(fuzz: ModuleType) -> None:
    """No quadratic corner: quotes that never close, many braces, deep parentheses."""
    for piece in ("'''", "/*", "{", "(", ":a", "$a", "/*?if a*/", "{a.*}", "a.b=:c "):
        fuzz.check(f"-- name: q :exec\n{piece * 49_999}")
