"""Waiting for a condition, never for a length of time."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

POLL_SECONDS = 0.01


def eventually(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Asks until the condition holds; False if it does not within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        select.select([], [], [], POLL_SECONDS)
    return True
