"""Remedies for names that do not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

_LISTED_MAX: Final = 12
_COMPARED_MAX: Final = 5000


def remedy(word: str, known: Iterable[str], what: str) -> str:
    """`did you mean "x"?`, else the known names if they are few, else that it must be declared."""
    names = sorted(set(known))
    close = get_close_matches(word, names[:_COMPARED_MAX], n=1, cutoff=0.6)
    if not close:
        close = [name for name in names if name.lower() == word.lower()][:1]
    if close:
        return f'did you mean "{close[0]}"?'
    if not names:
        return f"there is no {what} here"
    if len(names) <= _LISTED_MAX:
        return f"known here: {', '.join(names)}"
    return f"declare the {what}, or correct the name"
