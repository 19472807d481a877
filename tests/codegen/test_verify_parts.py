"""What `stele verify` is made of: shapes, places in query files, columns behind joins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import pytest
from stele.diag import Diagnostics
from stele.partsql import NULL, UNSET, VALUE, Names, Shape, Statement, Switch, render
from stele.query_load import load_text
from stele.shapes import EVERY_MAX, shapes
from stele.sql import ELSE, END, LIST, Part, each, if_any, merge, param, sql, table, where
from stele.verify_nulls import load, nulled
from stele.verify_source import QuerySource

# ---- shapes ----


def row(name: str, kind: str = "INT8", form: str = "IN", required: bool = False) -> tuple[str, ...]:
    needed = "true" if required else "false"
    return (f'"{name}"', f"STELE_GEN_{kind}", f"STELE_GEN_{form}", needed, "0", "0", "0", "NULL")


def statement(
    params: Sequence[tuple[str, ...]],
    parts: Sequence[Part] = (),
    first: int = 0,
    set_range: tuple[int, int] | None = None,
    groups: tuple[tuple[int, ...], ...] = (),
    switches: tuple[Switch, ...] = (),
) -> Statement:
    return Statement("s", merge(parts), tuple(params), {}, first, set_range, groups, switches)


def states(stmt: Statement) -> set[tuple[str, ...]]:
    return {shape.states for shape in shapes(stmt)}


def test_few_shapes_are_tried_all() -> None:
    stmt = statement([row("a"), row("b", form="IN_N"), row("c", required=True)])
    assert states(stmt) == {(a, b, VALUE) for a in (UNSET, VALUE) for b in (UNSET, VALUE, NULL)}


def test_of_many_shapes_each_of_a_pair_is_tried_without_the_other() -> None:
    count = 150
    stmt = statement([row(f"c{i}", form="IN_N") for i in range(count)])
    found = states(stmt)
    assert 2**count > EVERY_MAX
    assert (UNSET,) * count in found and (VALUE,) * count in found
    for i in range(count):
        alone = [UNSET] * count
        for state in (VALUE, NULL):
            alone[i] = state
            assert tuple(alone) in found
    mixtures = [one for one in found if 1 < one.count(VALUE) < count]
    for i, j in permutations(range(count), 2):
        assert any(one[i] == VALUE and one[j] == UNSET for one in mixtures)
    assert len(mixtures) == 2 * 8  # 150 takes eight bits
    assert len(found) == 2 + 2 * count + len(mixtures)


def test_mixtures_are_tried_with_each_flag() -> None:
    parts = [Part("IF_FLAG", flags=("STELE_FLAG_RETURNING",)), END]
    found = list(shapes(statement([row(f"c{i}") for i in range(12)], parts)))
    plain = {one.states for one in found if not one.flags}
    flagged = {one.states for one in found if one.flags}
    assert any(1 < one.count(VALUE) < 12 for one in plain)
    assert {one for one in plain if one.count(VALUE) > 1} <= flagged


def test_each_flag_is_tried_with_nothing_and_with_everything_set() -> None:
    parts = [Part("IF_FLAG", flags=("STELE_FLAG_RETURNING",)), END, Part("IF_SOFT"), END]
    stmt = statement([row(f"c{i}") for i in range(12)], parts)
    found = {(shape.states, bool(shape.flags), shape.soft) for shape in shapes(stmt)}
    for all_states in ((UNSET,) * 12, (VALUE,) * 12):
        assert {(all_states, True, True), (all_states, False, False)} <= found
    assert ((UNSET,) * 12, True, False) in found


def test_scopes_exclude_each_other() -> None:
    flags = [f"STELE_FLAG_{how}_DELETED" for how in ("WITH", "ONLY")]
    parts = [one for flag in flags for one in (Part("IF_FLAG", flags=(flag,)), END)]
    found = [shape.flags for shape in shapes(statement([], parts))]
    assert sorted(found, key=sorted) == sorted(
        [frozenset(), frozenset({flags[0]}), frozenset({flags[1]})], key=sorted
    )


def test_grouped_parameters_come_together() -> None:
    stmt = statement([row("a"), row("b"), row("c"), row("d")], groups=((0, 1), (1, 2)))
    assert states(stmt) == {
        (group, group, group, alone) for group in (UNSET, VALUE) for alone in (UNSET, VALUE)
    }


def test_many_rows_set_a_column_in_one_way() -> None:
    params = [row("at", "TIMESTAMPTZ | STELE_GEN_ARRAY"), row("at", "INTERVAL | STELE_GEN_ARRAY")]
    params.append(row("tags", "TEXT | STELE_GEN_ARRAY"))
    parts = [Part("ROWS", (3,))]
    stmt = replace(statement(params, parts), arrays=frozenset({2}))
    found = {(shape.states, shape.listed) for shape in shapes(stmt)}
    times = [(UNSET, UNSET), (VALUE, UNSET), (UNSET, VALUE)]
    assert found == {
        *(((*time, UNSET), listed) for time in times[1:] for listed in (False, True)),
        *(((*time, VALUE), True) for time in times),
    }
    arrays, listed = Shape((UNSET, VALUE, UNSET)), Shape((VALUE, UNSET, VALUE), listed=True)
    assert render(stmt, arrays, Names()).text == "unnest($1) AS u(c1)"
    assert [stmt.type_of(i, arrays) for i in (0, 1)] == ["timestamptz[]", "interval[]"]
    assert render(stmt, listed, Names()).text == "(VALUES ($1, $2, 1)) AS u(c0, c2, n)"
    assert [stmt.type_of(i, listed) for i in (0, 2)] == ["timestamptz", "text[]"]


def test_switches_take_every_value() -> None:
    switches = (Switch("only", 2, 0), Switch("sort", 3, 1))
    found = [shape.bits for shape in shapes(statement([], switches=switches))]
    assert sorted(found) == [only | sort << 1 for sort in range(3) for only in range(2)]


def test_what_the_runtime_refuses_is_left_out() -> None:
    stmt = statement([row("k", form="PLAIN", required=True), row("a")], first=1, set_range=(1, 2))
    assert states(stmt) == {(VALUE, VALUE)}


# ---- rendering ----


def text(
    parts: Sequence[Part], params: Sequence[tuple[str, ...]], shape: Shape, names: Names
) -> str:
    return render(statement(params, parts, groups=((0, 1),)), shape, names).text


def test_conditions_of_queries() -> None:
    parts = [
        Part("IF_ALL", (0,)), sql("both "), param(0), param(1), END,
        Part("IF_CHOICE", (6, 2)), sql(" second"), END,
        Part("IF_FLAG", (1,)), sql(" flag"), ELSE, sql(" none"), END,
    ]  # fmt: skip
    params = [row("a"), row("b")]
    names = Names()
    assert text(parts, params, Shape((VALUE, VALUE), bits=3), names) == "both $1$2 second flag"
    assert text(parts, params, Shape((VALUE, UNSET), bits=4), names) == " none"


def test_names_and_lists() -> None:
    parts = [
        table("t"), sql(" "), table("other.t"), sql(" "), Part("SCHEMA_"), Part("PREFIX"), sql(" "),
        if_any(0, 2), LIST, each("SET", 0, 2), END, where("EQ", 1, "t.b"),
    ]  # fmt: skip
    shape, params = Shape((VALUE, NULL)), [row("a"), row("b")]
    rest = ' s_p_ "a" = $1, "b" = $2\n  AND t.b IS NULL'
    names = Names("s", "p_", "s")
    assert text(parts, params, shape, names) == f'"s"."p_t" "s"."p_t"{rest}'
    names = Names("", "p_", "s", "own", {"own": "o"})
    assert text(parts, params, shape, names) == f'"o"."p_t" "p_t"{rest}'


# ---- places ----

QUERY = """-- name: q :many
-- param a, b: int8
-- return id: int8
SELECT t.id, 'ö' FROM {t} WHERE t.x = :a /*?if b*/ AND t.y = :b /*?end*/
ORDER BY /*?by sort up*/ t.u, t.id /*?or down: t.d, t.id*/ /*?end*/
"""
SPREAD = "SELECT t.id, 'ö' FROM \"s\".\"p_t\" AS t WHERE t.x = $1 AND t.y = $2\nORDER BY "


@pytest.mark.parametrize(
    ("made", "word", "bits", "place"),
    [
        (SPREAD + "t.u, t.id", "id,", 0, (4, 10)),
        (SPREAD + "t.u, t.id", "x =", 0, (4, 35)),
        (SPREAD + "t.u, t.id", "$1", 0, (4, 39)),
        (SPREAD + "t.u, t.id", "p_t", 0, (4, 23)),
        (SPREAD + "t.u, t.id", "$2", 0, (4, 62)),
        (SPREAD + "t.u, t.id", "u,", 0, (5, 28)),
        (SPREAD + "t.d, t.id", "t.d", 1, (5, 48)),
    ],
)
def test_a_place_in_made_sql_has_one_in_the_file(
    made: str, word: str, bits: int, place: tuple[int, int]
) -> None:
    (raw,) = load_text("q.sql", QUERY, Diagnostics())
    source = QuerySource.of(raw, [Switch("sort", 2, 0)])
    span = source.span(made, made.index(word) + 1, Shape((VALUE, VALUE), bits=bits))
    assert (span.line, span.column) == place
    assert source.span(made, 0, Shape((VALUE, VALUE), bits=bits)) == raw.span


# ---- joins ----


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT a.x, b.x FROM a JOIN b USING (id)", [False, False]),
        ("SELECT a.x, b.x FROM a LEFT JOIN b USING (id)", [False, True]),
        ("SELECT a.x, b.x FROM a NATURAL RIGHT JOIN b", [True, False]),
        ("SELECT a.x, b.x, c.x FROM a FULL JOIN b ON true CROSS JOIN c", [True, True, False]),
        ("SELECT j.x FROM (a LEFT JOIN b ON true) AS j", [False]),
        (
            'SELECT (b.x)::int, b.x COLLATE "C", b.x + 1 FROM a LEFT JOIN b ON true',
            [True, True, False],
        ),
        ("SELECT s.b.x FROM a LEFT JOIN s.b ON true", [True]),
        ("SELECT y FROM (SELECT b.x AS y FROM a LEFT JOIN b ON true) AS q", [True]),
        ("SELECT q.z FROM (SELECT b.x FROM a LEFT JOIN b ON true) AS q (z)", [True]),
        ("WITH b AS (SELECT 1 AS x) SELECT b.x FROM a LEFT JOIN b ON true", [True]),
        ("WITH w AS (SELECT b.x FROM a LEFT JOIN b ON true) SELECT w.x FROM w", [True]),
        ("SELECT f.x FROM a LEFT JOIN unnest(a.y) AS f (x) ON true", [True]),
        ("VALUES (1, 2)", [False, False]),
        ("INSERT INTO a SELECT b.x FROM c LEFT JOIN b ON true RETURNING a.x", [False]),
        ("DELETE FROM a USING c LEFT JOIN b ON true RETURNING a.x, b.x", [False, True]),
        ("SELECT q.x FROM (SELECT * FROM a LEFT JOIN b ON true) AS q", [False]),
        ("SELECT q.x FROM (SELECT b.* FROM a LEFT JOIN b ON true) AS q", [True]),
        ("SELECT * FROM a", []),
        ("LOCK TABLE a", []),
    ],
)
def test_what_joins_make_null(query: str, expected: list[bool]) -> None:
    pytest.importorskip("pglast")
    pglast = load()
    assert pglast is not None
    assert nulled(pglast, query, []) == expected


def test_an_unqualified_column_is_known_by_its_table() -> None:
    pytest.importorskip("pglast")
    pglast = load()
    assert pglast is not None
    query = "SELECT x FROM a LEFT JOIN b ON true"
    assert nulled(pglast, query, ["b"]) == [True]
    assert nulled(pglast, query, ["a"]) == [False]
    assert nulled(pglast, query, [""]) == [False]
