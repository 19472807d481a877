"""Remedies for names that do not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from typing import Final

_LISTED_MAX: Final = 12
_COMPARED_MAX: Final = 5000


def _likeness(word: str, name: str) -> tuple[bool, bool, float, str]:
    """One wrong character is likelier than a missing one; what is left is decided by order."""
    wrong = sum(a != b for a, b in zip(word, name, strict=False))
    one_wrong = len(word) == len(name) and wrong == 1
    return name.lower() == word.lower(), one_wrong, SequenceMatcher(None, word, name).ratio(), name


def remedy(word: str, known: Iterable[str], what: str) -> str:
    """`did you mean "x"?`, else the known names if they are few, else that it must be declared."""
    names = sorted(set(known))
    close = get_close_matches(word, names[:_COMPARED_MAX], n=5, cutoff=0.6)
    close += [name for name in names if name.lower() == word.lower()]
    if close:
        return f'did you mean "{max(close, key=lambda name: _likeness(word, name))}"?'
    if not names:
        return f"there is no {what} here"
    if len(names) <= _LISTED_MAX:
        return f"known here: {', '.join(names)}"
    return f"declare the {what}, or correct the name"
