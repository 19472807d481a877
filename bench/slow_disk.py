"""A private cluster on a disk whose fdatasync takes a millisecond longer than that of memory.

`programs` is the folder of the benchmarks, with libfsyncdelay.so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from cluster import Cluster, ClusterError

DELAY_US = 1000
PRELOADED = "libfsyncdelay.so"
COMMITS = 20


@contextlib.contextmanager
def environment(**more: str) -> Iterator[None]:
    """With these variables, for processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class SlowDisk(Cluster):
    def __init__(self, programs: Path, settings: Mapping[str, str] | None = None):
        self.preloaded = programs / PRELOADED
        super().__init__(settings)
        self._check()

    def start(self) -> None:
        # Where the server's user can read it.
        copy = self.folder / PRELOADED
        shutil.copyfile(self.preloaded, copy)
        copy.chmod(0o755)
        with environment(LD_PRELOAD=str(copy), STELE_FSYNC_DELAY_US=str(DELAY_US)):
            super().start()

    def _check(self) -> None:
        """A library that could not be loaded would only be warned of."""
        self.psql("CREATE TABLE slow_disk (n int8)")
        loop = f"FOR i IN 1..{COMMITS} LOOP INSERT INTO slow_disk VALUES (i); COMMIT; END LOOP"
        began = time.monotonic()
        self.psql(f"DO $$ BEGIN {loop}; END $$")
        took_us = (time.monotonic() - began) * 1e6
        self.psql("DROP TABLE slow_disk")
        if took_us < COMMITS * DELAY_US:
            raise ClusterError(f"{COMMITS} commits took {took_us:.0f} us: the disk is not slow")
