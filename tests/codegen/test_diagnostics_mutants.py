"""Whatever a schema file holds, reading it gives diagnostics or a schema, never a traceback."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from stele.diag import Diagnostics
from stele.frontend import read_schema

TOP = Path(__file__).resolve().parents[2]
SEEDS = {
    "sessions": TOP / "schema/sessions.yaml",
    "shop": TOP / "tests/schemas/shop.yaml",
    "unknown_column": TOP / "tests/golden/errors/unknown_column/schema.yaml",
    "c_names": TOP / "tests/golden/errors/c_names/schema.yaml",
}
PER_SEED = 700
SPICE = [
    *(b"&a ", b"*a", b"!!int ", b"? ", b"- ", b"<<: ", b"---\n", b"...\n", b"%YAML 1.2\n", b"\t"),
    *(b"{", b"}", b"[", b"]", b"'", b'"', b"|\n", b">-\n", b"#", b": ", b",", b"\\", b"\x00"),
    *(b"\xff", b"\xc3\xa4", b"\xe2\x80\xa8", b"\r\n", b"\r", b"0", b"-1", b"null", b"~", b"yes"),
    *(b"not_deleted", b"live", b"?", b"[]", b"(", b")", b"opaque()", b"$$", b"--", b"/*", b";"),
    *(b"99999999999999999999", b"a" * 70, b"[" * 40, b"session_states", b"id", b"int8", b"module"),
]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One to four changes: bytes flipped, spans cut, doubled or moved, lines lost, words put in."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        size = rng.choice((1, 1, 2, 5, 20, 80))
        piece = data[at : at + size]
        kind = rng.randrange(7)
        if kind == 0:
            data = data[:at] + data[at + size :]
        elif kind == 1:
            data = data[:at] + piece + data[at:]
        elif kind == 2 and piece:
            data = data[:at] + bytes([piece[0] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
        elif kind == 3:
            data = data[:at] + rng.choice(SPICE) + data[at:]
        elif kind == 4:
            lines = data.split(b"\n")
            del lines[rng.randrange(len(lines))]
            data = b"\n".join(lines)
        elif kind == 5:
            lines = data.split(b"\n")
            line = rng.choice(lines)
            lines.insert(rng.randrange(len(lines) + 1), line)
            data = b"\n".join(lines)
        else:
            lines = data.split(b"\n")
            one, two = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[one], lines[two] = lines[two], lines[one]
            data = b"\n".join(lines)
    return data


def excerpt(data: bytes, rng: random.Random) -> bytes:
    """The head of a file and some of its tables, so that one change weighs more."""
    lines = data.split(b"\n")
    starts = [at for at, line in enumerate(lines) if line[:2] == b"  " and line[2:3].isalpha()]
    begin = rng.choice(starts)
    return b"\n".join(lines[: rng.randrange(8, 60)] + lines[begin : begin + rng.randrange(4, 60)])


@pytest.mark.parametrize("seed", sorted(SEEDS))
def test_mutants(seed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = random.Random(f"stele {seed}")
    whole = SEEDS[seed].read_bytes()
    failed = 0
    for number in range(PER_SEED):
        data = mutate(excerpt(whole, rng) if number % 3 else whole, rng)
        Path("mutant.yaml").write_bytes(data)
        diags = Diagnostics()
        try:
            schema = read_schema([Path("mutant.yaml")], diags)
        except Exception as error:
            raise AssertionError(f"mutant {number} of {seed}: {data!r}") from error
        assert (schema is None) == diags.failed, data
        failed += schema is None
        for item in diags.sorted():
            assert item.path == "mutant.yaml" and item.line >= 1 and item.column >= 1, item
            assert item.message and item.hint and "\n" not in str(item), item
    assert failed > PER_SEED // 4
