"""The shapes of a statement: which of its many ways to be called are tried.

All of them when there are few. Else: nothing set, all set, each alone in each of its states, and
so many mixtures that of each pair either is set without the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import prod
from typing import Final

from stele.partsql import (
    AFTER,
    NOW,
    NULL,
    UNSET,
    VALUE,
    Shape,
    Statement,
    Switch,
    column_of,
    kind_of,
)

EVERY_MAX: Final = 256

_SCOPES: Final = ("DELETED", "EXPIRED")


@dataclass(frozen=True, slots=True)
class Option:
    """One position of something that varies. `bits` are the switches of a query."""

    states: tuple[tuple[int, str], ...] = ()
    flag: str = ""
    soft: bool = True
    bits: int = 0
    listed: bool = False
    full: bool = False  # it belongs to the shape in which all is set


Dimension = tuple[Option, ...]  # the first is how it is unless it is varied


def shapes(stmt: Statement, pairs: bool = True) -> Iterator[Shape]:
    """The shapes to try, none twice, none that the runtime refuses before it asks the server.

    Without `pairs` those are left out where not all shapes are tried.
    """
    dimensions = [*_inputs(stmt), *_flags(stmt), *(_switch(one) for one in stmt.switches)]
    if any(part.macro == "IF_SOFT" for part in stmt.parts):
        dimensions.append((Option(), Option(soft=False)))
    if stmt.stores_many:
        dimensions.append((Option(), Option(listed=True)))
    base = [UNSET if stmt.optional(i) else VALUE for i in range(len(stmt.params))]
    seen: set[Shape] = set()
    for options in _combinations(dimensions, pairs):
        shape = _shape(base, options)
        if shape not in seen and not stmt.refuses(shape):
            seen.add(shape)
            yield shape


def _combinations(dimensions: Sequence[Dimension], pairs: bool) -> Iterator[Iterable[Option]]:
    if prod(len(one) for one in dimensions) <= EVERY_MAX:
        yield from product(*dimensions)
        return
    full = [_full(one) for one in dimensions]
    yield ()
    yield full
    for dimension in dimensions:
        for option in dimension[1:]:
            yield (option,)
            if not option.states:
                yield (*full, option)
    if pairs:
        yield from _mixtures(dimensions)


def _mixtures(dimensions: Sequence[Dimension]) -> Iterator[Iterable[Option]]:
    """Halves of the inputs, alone and with each position of what is no input; and pairs of those.

    The numbers of two inputs differ in some bit: in the half of that bit, and in its opposite, one
    of them is set without the other.
    """
    inputs = [one[1] for one in dimensions if one[0].states]
    others = [one[1:] for one in dimensions if not one[0].states]
    halves = [
        [option for i, option in enumerate(inputs) if i >> bit & 1 == value]
        for bit in range((len(inputs) - 1).bit_length())
        for value in (0, 1)
    ]
    yield from halves
    for half in halves:
        for option in (option for options in others for option in options):
            yield (*half, option)
    for one, other in combinations(others, 2):
        yield from product(one, other)


def _full(dimension: Dimension) -> Option:
    return next((option for option in dimension if option.full), dimension[0])


def _shape(base: Sequence[str], options: Iterable[Option]) -> Shape:
    states = list(base)
    flags: set[str] = set()
    soft, bits, listed = True, 0, False
    for option in options:
        for index, state in option.states:
            states[index] = state
        if option.flag:
            flags.add(option.flag)
        soft = soft and option.soft
        bits |= option.bits
        listed = listed or option.listed
    return Shape(tuple(states), frozenset(flags), soft, bits, listed)


def _states(param: Sequence[str]) -> list[str]:
    """The states that a parameter may have besides unset, a value first."""
    states = [VALUE]
    if param[2] == "STELE_GEN_IN_N":
        states.append(NULL)
    inputs = ("STELE_GEN_IN", "STELE_GEN_IN_N")
    if kind_of(param) in ("TIMESTAMP", "TIMESTAMPTZ") and param[2] in inputs:
        states += [NOW, AFTER] if "ARRAY" not in param[1] else []
    return states


def _inputs(stmt: Statement) -> Iterator[Dimension]:
    """One for each input, or for all that must be set together."""
    inputs = range(stmt.inputs_from, len(stmt.params))
    if stmt.stores_many:
        yield from _alternatives(stmt, inputs)
        return
    for members in _joined(inputs, stmt.groups):
        options = [Option(tuple((i, VALUE) for i in members), full=True)]
        if all(stmt.optional(i) for i in members):
            options.insert(0, Option(tuple((i, UNSET) for i in members)))
        for i in members:
            rest = [(other, VALUE) for other in members if other != i]
            for state in _states(stmt.params[i])[1:]:
                options.append(Option((*rest, (i, state))))
        if len(options) > 1:
            yield tuple(options)


def _alternatives(stmt: Statement, inputs: range) -> Iterator[Dimension]:
    """Parameters of one column stand for different states of it: one of them is set, or none."""
    columns: dict[str, list[int]] = {}
    for i in inputs:
        columns.setdefault(column_of(stmt.params[i]), []).append(i)
    for members in columns.values():
        unset = tuple((i, UNSET) for i in members)
        yield (
            Option(unset),
            *(Option((*unset, (i, VALUE)), full=i == members[0]) for i in members),
        )


def _joined(params: range, groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """The parameters; those that share a group, directly or through others, together."""
    sets: dict[int, list[int]] = {i: [i] for i in params}
    for group in groups:
        merged: list[int] = []
        for i in group:
            if sets[i] is not merged:
                merged += [one for one in sets[i] if one not in merged]
        for i in merged:
            sets[i] = merged
    out: list[list[int]] = []
    for members in sets.values():
        if all(members is not known for known in out):
            out.append(members)
    return out


def _flags(stmt: Statement) -> Iterator[Dimension]:
    names = {flag.removeprefix("STELE_FLAG_") for part in stmt.parts for flag in part.flags}
    for scope in _SCOPES:
        variants = [f"{how}_{scope}" for how in ("WITH", "ONLY") if f"{how}_{scope}" in names]
        if variants:
            names -= set(variants)
            yield (Option(), *(Option(flag=f"STELE_FLAG_{one}") for one in variants))
    for name in sorted(names):
        yield (Option(), Option(flag=f"STELE_FLAG_{name}"))


def _switch(one: Switch) -> Dimension:
    return tuple(Option(bits=value << one.shift) for value in range(one.count))
