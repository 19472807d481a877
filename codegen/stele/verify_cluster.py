"""A throwaway server for `stele verify`: a temporary folder, a Unix socket, no network.

The server is a child that dies with its parent, however that dies. What a killed run leaves of its
folder is removed by the next. Run as root, the server runs as an unprivileged user.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from stele.libpq import accepts

START_SECONDS: Final = 60
_PREFIX: Final = "stele-verify-"
_ROLE: Final = "stele"
_PR_SET_PDEATHSIG: Final = 1
# sun_path holds 107 bytes.
_LONGEST_PARENT: Final = 70

# It lives for one run, and for us alone: nothing need be durable, and many locks may be held.
_SETTINGS: Final = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "max_connections": "10",
    "max_locks_per_transaction": "10000",
    "shared_buffers": "64MB",
    "max_wal_size": "4GB",
    "jit": "off",
    "timezone": "UTC",
}


class ClusterProblem(Exception):
    """This machine cannot run a server: no programs, no user, no start."""


@contextlib.contextmanager
def throwaway_cluster() -> Iterator[str]:
    """The URL of a new server, which is gone afterwards."""
    bindir = _find_bindir()
    account = _account()
    parent = tempfile.gettempdir()
    if account is not None or len(parent) > _LONGEST_PARENT:
        parent = "/tmp"
    _remove_stale(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        lock = stack.enter_context(open(folder / "lock.new", "w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(folder / "lock.new", folder / "lock")
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        _initdb(bindir, folder, account)
        server = _start(bindir, folder, account)
        stack.callback(_stop, server)
        url = f"postgresql://{_ROLE}@/postgres?host={folder}"
        _wait(server, url, folder)
        yield url


def _find_bindir() -> Path:
    """The folder of initdb: $STELE_PG_BINDIR, Debian's newest, or the one on PATH."""
    chosen = os.environ.get("STELE_PG_BINDIR")
    if chosen:
        return Path(chosen)
    versions = [Path(path).parent for path in glob.glob("/usr/lib/postgresql/*/bin/initdb")]
    numbered = [path for path in versions if path.parent.name.isdigit()]
    if numbered:
        return max(numbered, key=lambda path: int(path.parent.name))
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    raise ClusterProblem(
        "no PostgreSQL server found (initdb); on Debian: apt-get install postgresql; "
        "or name a database with --database"
    )


def _account() -> pwd.struct_passwd | None:
    """Whom the server runs as when we are root; None when we are not."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ClusterProblem("run as root, and there is no user postgres or nobody for the server")


def _remove_stale(parent: str) -> None:
    """Removes folders whose makers are gone: nobody holds their locks."""
    for name in glob.glob(os.path.join(parent, _PREFIX + "*")):
        # The file gets this name when it is locked already.
        with contextlib.suppress(OSError), open(os.path.join(name, "lock")) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(name, ignore_errors=True)


def _environment() -> dict[str, str]:
    """Ours without what would change the server or its tools."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}


def _popen(
    command: Sequence[str | Path],
    folder: Path,
    account: pwd.struct_passwd | None,
    prepare: Callable[[], None] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a program as the server's user; its words go to a file."""
    with open(folder / "log", "ab") as words:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            start_new_session=True,  # Ctrl-C is for us
            preexec_fn=prepare,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )


def _initdb(bindir: Path, folder: Path, account: pwd.struct_passwd | None) -> None:
    command: list[str | Path] = [bindir / "initdb", f"--pgdata={folder / 'data'}"]
    command += [f"--username={_ROLE}", "--auth=trust", "--encoding=UTF8", "--locale=C"]
    command += ["--no-sync", "--no-instructions"]
    try:
        with _popen(command, folder, account) as initdb:
            if initdb.wait() != 0:
                raise ClusterProblem(f"initdb failed: {_words(folder)}")
    except OSError as error:
        raise ClusterProblem(f"cannot run {bindir / 'initdb'}: {error.strerror}") from error


def _start(
    bindir: Path, folder: Path, account: pwd.struct_passwd | None
) -> subprocess.Popen[bytes]:
    command: list[str | Path] = [bindir / "postgres", "-D", folder / "data", "-k", folder]
    for name, value in _SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    prctl = ctypes.CDLL(None).prctl

    def die_with_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGQUIT))

    return _popen(command, folder, account, die_with_parent)


def _wait(server: subprocess.Popen[bytes], url: str, folder: Path) -> None:
    """Waits until the server takes connections."""
    deadline = time.monotonic() + START_SECONDS
    while not accepts(url):
        if server.poll() is not None:
            raise ClusterProblem(f"the server does not start: {_words(folder)}")
        if time.monotonic() > deadline:
            raise ClusterProblem(f"the server is not ready after {START_SECONDS} s")
        time.sleep(0.02)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """At once, without a last checkpoint: its data is removed next."""
    server.send_signal(signal.SIGQUIT)
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _words(folder: Path) -> str:
    """The last of what the programs said."""
    lines = (folder / "log").read_text(errors="replace").split("\n")
    return " ".join(line.strip() for line in lines[-5:] if line.strip())
