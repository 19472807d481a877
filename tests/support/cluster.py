"""Private PostgreSQL clusters: a temporary folder, a Unix socket, no network, gone afterwards.

A cluster belongs to the process that made it. Beside the server stands a small reaper process that
holds one end of a pipe; when the owner closes the other end or dies, however it dies, the reaper
stops the server and removes the folder. What a killed reaper leaves behind is removed when the next
cluster is made. Run as root, the server and initdb run as an unprivileged user.

    with Cluster() as cluster:
        cluster.psql("SELECT 1")
        print(cluster.url())

As a program: `cluster.py run -- COMMAND` runs COMMAND with STELE_DSN naming a fresh cluster;
`start`, `stop`, `url` and `psql` handle one that stays until it is stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import glob
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

FOLDER_PREFIX = "stele-pg-"
ROLE = "stele"
DATABASE = "stele"
START_SECONDS = 240
# A folder without a lock file is one whose maker is still at work, or died there long ago.
UNLOCKED_FOLDER_SECONDS = 3600
# sun_path holds 107 bytes; "/.s.PGSQL.5432" and the random part take 30 of them.
LONGEST_PARENT = 70

DEFAULT_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a: ",
}


class ClusterError(Exception):
    """The environment cannot run a server: no binaries, no user, no start."""


def find_bindir() -> Path:
    """The folder of initdb: $STELE_PG_BINDIR, Debian's newest, or the one on PATH."""
    chosen = os.environ.get("STELE_PG_BINDIR")
    if chosen:
        return Path(chosen)
    versions = [Path(p).parent for p in glob.glob("/usr/lib/postgresql/*/bin/initdb")]
    numbered = [v for v in versions if v.parent.name.isdigit()]
    if numbered:
        return max(numbered, key=lambda v: int(v.parent.name))
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    raise ClusterError("no PostgreSQL server found (initdb); on Debian: apt-get install postgresql")


def server_account() -> pwd.struct_passwd | None:
    """Whom the server runs as when we are root; None when we are not."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ClusterError("running as root, and there is no user postgres or nobody for the server")


def folder_parent() -> str:
    """A parent that the server's user can enter and that keeps the socket's path short."""
    parent = tempfile.gettempdir()
    if os.geteuid() == 0 or len(parent) > LONGEST_PARENT:
        return "/tmp"
    return parent


def server_environment() -> dict[str, str]:
    """Our environment without what would change the server or its tools."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
    kept["LC_ALL"] = "C"
    return kept


def run_as_server(folder: Path, command: Sequence[str | Path]) -> None:
    """Runs one of PostgreSQL's programs as the server's user; its words go into the exception."""
    account = server_account()
    identity: dict[str, Any] = {}
    if account is not None:
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    with tempfile.TemporaryFile() as words:  # a pipe would stay open in the server
        done = subprocess.run(
            command,
            cwd=folder,
            env=server_environment(),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **identity,
        )
        if done.returncode != 0:
            words.seek(0)
            text = words.read().decode(errors="replace").strip()
            raise ClusterError(f"{Path(command[0]).name} failed: {text}{log_tail(folder)}")


def log_tail(folder: Path, lines: int = 15) -> str:
    try:
        text = (folder / "log").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return "\nserver log:\n  " + "\n  ".join(text[-lines:]) if text else ""


def postmaster_pid(folder: Path) -> int | None:
    """The server's process id, if one runs in this very folder."""
    try:
        pid = int((folder / "data/postmaster.pid").read_text().split("\n", 1)[0])
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(folder / "data") in words else None


def stop_server(folder: Path, mode: str) -> None:
    if postmaster_pid(folder) is not None:
        pg_ctl = find_bindir() / "pg_ctl"
        run_as_server(folder, [pg_ctl, "stop", "-w", "-s", "-m", mode, "-D", folder / "data"])


def remove(folder: Path) -> None:
    """Stops what runs in the folder and removes it."""
    with contextlib.suppress(ClusterError):
        stop_server(folder, "immediate")
    shutil.rmtree(folder, ignore_errors=True)


def remove_stale() -> None:
    """Removes what killed runs left: folders whose reaper is gone."""
    account = server_account()
    ours = {os.geteuid()} | ({account.pw_uid} if account else set())
    for name in glob.glob(os.path.join(folder_parent(), FOLDER_PREFIX + "*")):
        folder = Path(name)
        try:
            stat = folder.lstat()
        except OSError:
            continue
        if folder.is_symlink() or not folder.is_dir() or stat.st_uid not in ours:
            continue
        if is_stale(folder, stat.st_mtime):
            remove(folder)


def is_stale(folder: Path, modified: float) -> bool:
    if (folder / "detached").exists():
        return postmaster_pid(folder) is None
    try:
        lock = os.open(folder / "reaper", os.O_RDWR)
    except OSError:
        return time.time() - modified > UNLOCKED_FOLDER_SECONDS
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def reap(folder: Path) -> None:
    """The reaper's life: wait for the end of stdin, then clear up. Signals do not stop it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    lock = os.open(folder / "reaper", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(1, b"ready\n")
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), 1)
    while os.read(0, 4096):
        pass
    remove(folder)


def psql(url: str, sql: str) -> str:
    """Runs SQL and returns its rows as unaligned text. Raises ClusterError with psql's words."""
    done = subprocess.run(
        [find_bindir() / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url],
        input=sql,
        env=server_environment(),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise ClusterError(f"psql failed: {done.stderr.strip()}")
    return done.stdout.rstrip("\n")


class Cluster:
    """One server. `settings` go to postgresql.conf over DEFAULT_SETTINGS.

    A detached cluster has no reaper: it lives until `remove(cluster.folder)`.
    """

    def __init__(self, settings: Mapping[str, str] | None = None, *, detached: bool = False):
        self.bindir = find_bindir()
        remove_stale()
        self.folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=folder_parent()))
        self._reaper: subprocess.Popen[bytes] | None = None
        try:
            if detached:
                (self.folder / "detached").touch()
            else:
                self._start_reaper()
            account = server_account()
            if account is not None:
                os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._initdb({**DEFAULT_SETTINGS, **(settings or {})})
            self.start()
            self.psql(f"CREATE DATABASE {DATABASE}", database="postgres")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _start_reaper(self) -> None:
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", os.path.abspath(__file__), "reap", self.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        assert self._reaper.stdout is not None
        with self._reaper.stdout as answer:
            if answer.readline() != b"ready\n":
                raise ClusterError("cannot start the process that clears up")

    def _initdb(self, settings: Mapping[str, str]) -> None:
        data = self.folder / "data"
        run_as_server(
            self.folder,
            [
                self.bindir / "initdb",
                f"--pgdata={data}",
                f"--username={ROLE}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",  # the cluster does not outlive this machine's memory
            ],
        )
        lines = [f"unix_socket_directories = '{self.folder}'\n"]
        for key, value in settings.items():
            quoted = value.replace("'", "''")
            lines.append(f"{key} = '{quoted}'\n")
        with open(data / "postgresql.conf", "a") as conf:
            conf.writelines(lines)

    def start(self) -> None:
        """Starts the server and waits until it takes connections."""
        data, log = self.folder / "data", self.folder / "log"
        how = ["-w", "-s", "-t", str(START_SECONDS)]
        run_as_server(self.folder, [self.bindir / "pg_ctl", "start", *how, "-D", data, "-l", log])

    def stop(self, mode: str = "fast") -> None:
        """Stops the server; `mode` is smart, fast or immediate. The data stays."""
        stop_server(self.folder, mode)

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stops the server and removes the folder. Once is enough, twice is fine."""
        reaper, self._reaper = self._reaper, None
        if reaper is None:
            remove(self.folder)
            return
        assert reaper.stdin is not None
        reaper.stdin.close()
        reaper.wait()
        remove(self.folder)  # nothing is left to do unless the reaper was killed

    def url(self, database: str = DATABASE, user: str = ROLE) -> str:
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def log(self) -> str:
        """All that the server has logged so far."""
        return (self.folder / "log").read_text(errors="replace")

    def psql(self, sql: str, *, database: str = DATABASE, user: str = ROLE) -> str:
        """The same as the function psql(), on this cluster."""
        return psql(self.url(database, user), sql)

    def create_database(self, name: str, template: str = "template0") -> str:
        """Creates a database and returns its URL."""
        self.psql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"', database="postgres")
        return self.url(name)


class Interrupted(BaseException):
    """SIGTERM, SIGHUP or SIGINT arrived."""

    def __init__(self, number: int):
        self.number = number


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turns the signals that end a program into Interrupted, so that it clears up first."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise Interrupted(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def command_run(settings: Mapping[str, str], command: Sequence[str]) -> int:
    """Runs a command beside a fresh cluster; its exit code is ours."""
    with interruptible():
        try:
            with Cluster(settings) as cluster:
                env = {**os.environ, "STELE_DSN": cluster.url()}
                with subprocess.Popen(command, env=env) as child:
                    return wait_forwarding(child)
        except Interrupted as stop:
            return 128 + stop.number


def wait_forwarding(child: subprocess.Popen[bytes]) -> int:
    """Waits for the child; a signal that we get is passed on, a second one kills."""
    signals = 0
    while True:
        try:
            code = child.wait()
            return code if code >= 0 else 128 - code
        except Interrupted as stop:
            signals += 1
            if stop.number == signal.SIGINT and os.isatty(0) and signals == 1:
                continue  # Ctrl-C: the terminal has told the child as well
            child.send_signal(stop.number if signals == 1 else signal.SIGKILL)


def standing_cluster(state: Path) -> Path | None:
    """The folder of the cluster that `start` left running, if it still runs."""
    try:
        folder = Path(state.read_text().strip())
    except OSError:
        return None
    return folder if postmaster_pid(folder) is not None else None


def standing_url(folder: Path) -> str:
    return f"postgresql://{ROLE}@/{DATABASE}?host={folder}"


def command_start(state: Path) -> int:
    folder = standing_cluster(state)
    if folder is None:
        with interruptible():
            cluster = Cluster(detached=True)
            folder = cluster.folder
            try:
                state.parent.mkdir(parents=True, exist_ok=True)
                state.write_text(f"{folder}\n")
            except BaseException:
                cluster.close()
                raise
    print(standing_url(folder))
    return 0


def command_stop(state: Path) -> int:
    folder = standing_cluster(state)
    if folder is not None:
        stop_server(folder, "fast")
        remove(folder)
    state.unlink(missing_ok=True)
    return 0


def command_client(state: Path, action: str, arguments: Sequence[str]) -> int:
    folder = standing_cluster(state)
    if folder is None:
        print("no cluster is running; start one with: ./dev db start", file=sys.stderr)
        return 1
    if action == "url":
        print(standing_url(folder))
        return 0
    psql = find_bindir() / "psql"
    os.execv(psql, ["psql", "-d", standing_url(folder), *arguments])


def setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError("expected NAME=VALUE")
    return name, value


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Private PostgreSQL clusters.")
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", help="run a command beside a fresh cluster")
    run.add_argument("--set", type=setting, action="append", default=[], metavar="NAME=VALUE")
    run.add_argument("command", nargs="+")
    for action in ("start", "stop", "url", "psql"):
        standing = actions.add_parser(action)
        standing.add_argument("state", type=Path, help="file that remembers the cluster's folder")
        standing.add_argument("arguments", nargs=argparse.REMAINDER)
    actions.add_parser("reap").add_argument("folder", type=Path)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        if options.action == "run":
            return command_run(dict(options.set), options.command)
        if options.action == "reap":
            reap(options.folder)
            return 0
        if options.action == "start":
            return command_start(options.state)
        if options.action == "stop":
            return command_stop(options.state)
        return command_client(options.state, options.action, options.arguments)
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 2
    except Interrupted as stop:
        return 128 + stop.number


if __name__ == "__main__":
    sys.exit(main())
