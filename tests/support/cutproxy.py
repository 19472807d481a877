"""A proxy between a client and PostgreSQL that ends a connection at a chosen protocol message.

It listens on a Unix socket in a folder of its own; `host=<folder>` connects to it. It forwards
message by message and counts from the moment it has seen ARM in a query of the client: the answer
to that query is forwarded, and the next messages are numbered from 0 in each direction.

    with CutProxy(address_of(url), Cut("server", 3)) as proxy: ...

The cut is made once; later connections pass untouched. While it is made, the server keeps its end
until it has answered all that was forwarded, so that nothing is left to chance.
"""

from __future__ import annotations

import select
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal
from urllib.parse import parse_qs, urlsplit

ARM = b"cut from here"
SETTLE_SECONDS = 60.0


@dataclass(frozen=True)
class Cut:
    """Where the connection ends: before message `index` of one side is forwarded.

    `half`: its first three bytes still are. `silent`: nothing is closed, and nothing forwarded any
    more. `garbage`: bytes that are no message are sent in its place to the client.
    """

    side: Literal["client", "server", "never"]
    index: int = 0
    half: bool = False
    silent: bool = False
    garbage: bytes = b""


Address = str | tuple[str, int]


def address_of(url: str) -> Address:
    """Where the server of a URL listens: the path of its socket, or host and port."""
    parts = urlsplit(url)
    host = parse_qs(parts.query).get("host", [parts.hostname or ""])[0]
    port = parts.port or 5432
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host or "localhost", port)


def connect(address: Address) -> socket.socket:
    if isinstance(address, tuple):
        return socket.create_connection(address)
    server = socket.socket(socket.AF_UNIX)
    server.connect(address)
    return server


class Messages:
    """Splits a stream into messages; the first ones of a client have no type byte."""

    def __init__(self, from_client: bool) -> None:
        self._data = b""
        self._starting = from_client

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._data += data
        while True:
            head = 0 if self._starting else 1
            if len(self._data) < head + 4:
                return
            (length,) = struct.unpack_from("!I", self._data, head)
            if len(self._data) < head + length:
                return
            message, self._data = self._data[: head + length], self._data[head + length :]
            if self._starting and length != 8:  # SSLRequest and GSSENCRequest are 8 long
                self._starting = False
            yield message


class Session:
    """One client's connection."""

    def __init__(self, proxy: CutProxy, client: socket.socket) -> None:
        self.proxy = proxy
        self.client = client
        self.server = connect(proxy.target)
        self.armed = False
        self.arming = False
        self.seen = {"client": 0, "server": 0}
        self.started = False

    def run(self) -> None:
        streams = {self.client: Messages(True), self.server: Messages(False)}
        try:
            while self.pass_on(streams):
                pass
        except OSError:
            pass
        finally:
            self.client.close()
            self.server.close()

    def pass_on(self, streams: dict[socket.socket, Messages]) -> bool:
        for ready in select.select([self.client, self.server], [], [])[0]:
            data = ready.recv(65536)
            if not data:
                return False
            if ready is self.server and not self.started and data[:1] in b"NS" and len(data) == 1:
                self.client.sendall(data)  # the one-byte answer to a request for encryption
                continue
            if ready is self.server:
                self.started = True
            for message in streams[ready].feed(data):
                if not self.forward(message, ready is self.client):
                    return False
        return True

    def forward(self, message: bytes, from_client: bool) -> bool:
        side = "client" if from_client else "server"
        if self.armed:
            self.proxy.log.append((side, message[:1]))
            cut = self.proxy.cut
            if cut.side == side and cut.index == self.seen[side] and not self.proxy.done:
                self.proxy.done = True
                self.end(message, from_client)
                return False
            self.seen[side] += 1
        (self.server if from_client else self.client).sendall(message)
        if from_client and ARM in message and not self.proxy.done:
            self.arming = True
        elif not from_client and self.arming and message[:1] == b"Z":
            self.arming, self.armed = False, True
        return True

    def end(self, message: bytes, from_client: bool) -> None:
        cut = self.proxy.cut
        if from_client:
            if cut.half:
                self.server.sendall(message[:3])
            self.server.shutdown(socket.SHUT_WR)
        elif cut.half:
            self.client.sendall(message[:3])
        elif cut.garbage:
            self.client.sendall(cut.garbage)
        if cut.silent:
            # Until the client gives up: it says goodbye, or just goes.
            select.select([self.client], [], [], SETTLE_SECONDS)
        self.settle(from_client)

    def settle(self, closed: bool) -> None:
        """Takes what the server still has to say: until it is idle, or gone when we hung up."""
        self.server.settimeout(SETTLE_SECONDS)
        while True:
            # The server sends an answer in one piece; what is not there at once will not come.
            if not closed and not select.select([self.server], [], [], 0.02)[0]:
                return
            if not self.server.recv(65536):
                return


class CutProxy:
    """Accepts until it is left."""

    def __init__(self, target: Address, cut: Cut) -> None:
        self.target = target
        self.cut = cut
        self.done = False
        self.log: list[tuple[str, bytes]] = []
        self.folder = Path(tempfile.mkdtemp(prefix="stele-cut-"))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.folder / ".s.PGSQL.5432"))
        self._listener.listen(16)
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=Session(self, client).run)
            self._threads.append(thread)
            thread.start()

    def __enter__(self) -> CutProxy:
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        for thread in self._threads:
            thread.join()
        shutil.rmtree(self.folder)

    def count(self, side: str) -> int:
        return sum(1 for who, _ in self.log if who == side)
