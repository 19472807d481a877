"""SQL as generated code keeps it: parts that the runtime renders (see stele/gen/gen.h)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from stele.names import sql_ident


@dataclass(frozen=True, slots=True)
class Part:
    """One part: the macro that makes it, its numbers, its text or the constant that holds it."""

    macro: str
    numbers: tuple[int, ...] = ()
    text: str | None = None
    shared: str = ""  # name of a C constant, instead of text
    flags: tuple[str, ...] = ()


def sql(text: str) -> Part:
    return Part("SQL", text=text)


def shared(constant: str) -> Part:
    return Part("SQL", shared=constant)


def table(name: str) -> Part:
    return Part("TABLE", text=name)


def param(index: int) -> Part:
    return Part("PARAM", (index,))


def each(what: str, start: int, end: int) -> Part:
    """`what` is NAME, VALUE, SET or EXCLUDED."""
    return Part(f"EACH_{what}", (start, end))


def item(text: str) -> Part:
    return Part("ITEM", text=text)


def where(operator: str, index: int, column: str) -> Part:
    """`operator` is EQ, GE or LT."""
    return Part(f"WHERE_{operator}", (index,), text=column)


def if_unset(index: int) -> Part:
    return Part("IF_UNSET", (index,))


def if_any(start: int, end: int) -> Part:
    return Part("IF_ANY", (start, end))


def if_flag(*flags: str) -> Part:
    return Part("IF_FLAG", flags=tuple(f"STELE_FLAG_{flag}" for flag in flags))


def if_no_flag(*flags: str) -> Part:
    return Part("IF_NO_FLAG", flags=tuple(f"STELE_FLAG_{flag}" for flag in flags))


LIST = Part("LIST")
SCHEMA = Part("SCHEMA")
SCHEMA_ = Part("SCHEMA_")
PREFIX = Part("PREFIX")
IF_SOFT = Part("IF_SOFT")
ELSE = Part("ELSE")
END = Part("END")


def merge(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The same with neighbouring texts joined and empty ones dropped."""
    out: list[Part] = []
    for part in parts:
        if part.macro == "SQL" and part.text is not None:
            if not part.text:
                continue
            if out and out[-1].macro == "SQL" and out[-1].text is not None:
                out[-1] = replace(out[-1], text=out[-1].text + part.text)
                continue
        out.append(part)
    return tuple(out)


def column(name: str, alias: str = "t") -> str:
    """A column as a statement refers to it."""
    return f"{alias}.{sql_ident(name)}"


def and_all(predicates: Sequence[str]) -> str:
    """Predicates that follow another one, each on its own line."""
    return "".join(f"\n  AND {predicate}" for predicate in predicates)


def group(predicate: str) -> str:
    """An author's predicate among others: in parentheses, since it may hold an OR."""
    predicate = predicate.strip()
    return predicate if predicate.replace("_", "").isalnum() else f"({predicate})"
