"""A few functions of libpq, through ctypes.

`stele verify` asks the server to describe statements: the types of their parameters and columns,
and the table that each column comes from. No driver among Debian 12's Python packages can do that,
and before PostgreSQL 16 no view shows it either. libpq can, and is there wherever Stele is.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import POINTER, c_char_p, c_int, c_uint, c_void_p
from dataclasses import dataclass
from typing import Final

Row = tuple[str | None, ...]

_LIBRARY: Final = "libpq.so.5"
_CONNECTION_OK: Final = 0
_GOOD_RESULTS: Final = frozenset({0, 1, 2})  # an empty query, a command, rows
_NOTICES: Final = ctypes.CFUNCTYPE(None, c_void_p, c_char_p)

# Result and arguments of each function that is used.
_FUNCTIONS: Final[dict[str, tuple[object, tuple[object, ...]]]] = {
    "PQconnectdbParams": (c_void_p, (POINTER(c_char_p), POINTER(c_char_p), c_int)),
    "PQpingParams": (c_int, (POINTER(c_char_p), POINTER(c_char_p), c_int)),
    "PQsetNoticeProcessor": (c_void_p, (c_void_p, _NOTICES, c_void_p)),
    "PQstatus": (c_int, (c_void_p,)),
    "PQserverVersion": (c_int, (c_void_p,)),
    "PQerrorMessage": (c_char_p, (c_void_p,)),
    "PQfinish": (None, (c_void_p,)),
    "PQexec": (c_void_p, (c_void_p, c_char_p)),
    "PQprepare": (c_void_p, (c_void_p, c_char_p, c_char_p, c_int, POINTER(c_uint))),
    "PQdescribePrepared": (c_void_p, (c_void_p, c_char_p)),
    "PQclear": (None, (c_void_p,)),
    "PQresultStatus": (c_int, (c_void_p,)),
    "PQresultErrorField": (c_char_p, (c_void_p, c_int)),
    "PQntuples": (c_int, (c_void_p,)),
    "PQnfields": (c_int, (c_void_p,)),
    "PQnparams": (c_int, (c_void_p,)),
    "PQparamtype": (c_uint, (c_void_p, c_int)),
    "PQfname": (c_char_p, (c_void_p, c_int)),
    "PQftype": (c_uint, (c_void_p, c_int)),
    "PQftable": (c_uint, (c_void_p, c_int)),
    "PQftablecol": (c_int, (c_void_p, c_int)),
    "PQgetisnull": (c_int, (c_void_p, c_int, c_int)),
    "PQgetvalue": (c_char_p, (c_void_p, c_int, c_int)),
}


class LibpqMissing(Exception):
    """libpq is not installed."""


class ConnectionProblem(Exception):
    """There is no connection, or no longer."""


class ServerError(Exception):
    """What the server says. `position` counts characters of the statement from 1; 0 if unknown."""

    def __init__(
        self, sqlstate: str, message: str, hint: str = "", position: int = 0, column: str = ""
    ) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.message = message
        self.hint = hint
        self.position = position
        self.column = column


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of a result; `table` and `number` tell where it comes from, 0 if from no table."""

    name: str
    type: int
    table: int
    number: int


@dataclass(frozen=True, slots=True)
class Description:
    """The types of a statement's parameters, and the columns it gives."""

    params: tuple[int, ...]
    columns: tuple[ResultColumn, ...]


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise LibpqMissing(str(error)) from error
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


def _options(url: str) -> tuple[ctypes.Array[c_char_p], ctypes.Array[c_char_p]]:
    """Keywords and values. What stands before the URL is for it to change."""
    options = {
        "connect_timeout": "15",
        "fallback_application_name": "stele verify",
        "dbname": url,
        "client_encoding": "UTF8",
    }
    strings = c_char_p * (len(options) + 1)
    keywords = strings(*(key.encode() for key in options), None)
    return keywords, strings(*(value.encode() for value in options.values()), None)


def accepts(url: str) -> bool:
    """Whether a server there takes connections."""
    return bool(_load().PQpingParams(*_options(url), 1) == 0)


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")


class Connection:
    """A connection for one thread. Statements may be of any length."""

    def __init__(self, url: str) -> None:
        self._pq = _load()
        self._conn: int | None = self._pq.PQconnectdbParams(*_options(url), 1)
        if self._conn is None:
            raise ConnectionProblem("out of memory")
        if self._pq.PQstatus(self._conn) != _CONNECTION_OK:
            message = self._message()
            self.close()
            raise ConnectionProblem(message)
        # Notices would go to stderr.
        self._silence = _NOTICES(lambda user, text: None)
        self._pq.PQsetNoticeProcessor(self._conn, self._silence, None)

    def close(self) -> None:
        """Ends the connection, and with it an open transaction."""
        if self._conn is not None:
            self._pq.PQfinish(self._conn)
            self._conn = None

    def _message(self) -> str:
        return " ".join(_text(self._pq.PQerrorMessage(self._conn)).split())

    @property
    def server_version(self) -> int:
        """As in 150018."""
        return int(self._pq.PQserverVersion(self._conn))

    def execute(self, sql: str) -> list[Row]:
        """Runs statements; the rows of the last one, as text."""
        with self._result(self._pq.PQexec(self._conn, sql.encode())) as result:
            width = self._pq.PQnfields(result)
            return [
                tuple(self._value(result, i, j) for j in range(width))
                for i in range(self._pq.PQntuples(result))
            ]

    def _value(self, result: int, row: int, column: int) -> str | None:
        if self._pq.PQgetisnull(result, row, column):
            return None
        return _text(self._pq.PQgetvalue(result, row, column))

    def describe(self, sql: str, types: Sequence[int]) -> Description:
        """Prepares a statement without running it. Type 0 is for the server to find out."""
        oids = (c_uint * len(types))(*types)
        prepared = self._pq.PQprepare(self._conn, b"", sql.encode(), len(types), oids)
        with self._result(prepared):
            pass
        with self._result(self._pq.PQdescribePrepared(self._conn, b"")) as result:
            params = range(self._pq.PQnparams(result))
            columns = range(self._pq.PQnfields(result))
            return Description(
                tuple(self._pq.PQparamtype(result, i) for i in params),
                tuple(self._column(result, i) for i in columns),
            )

    def _column(self, result: int, index: int) -> ResultColumn:
        return ResultColumn(
            _text(self._pq.PQfname(result, index)),
            self._pq.PQftype(result, index),
            self._pq.PQftable(result, index),
            self._pq.PQftablecol(result, index),
        )

    @contextmanager
    def _result(self, result: int | None) -> Iterator[int]:
        """A result that is good, for the block; raises what else it is."""
        if result is None:
            raise ConnectionProblem(self._message())
        try:
            if self._pq.PQresultStatus(result) not in _GOOD_RESULTS:
                raise self._problem(result)
            yield result
        finally:
            self._pq.PQclear(result)

    def _problem(self, result: int) -> Exception:
        def field(code: str) -> str:
            return _text(self._pq.PQresultErrorField(result, ord(code)))

        if self._pq.PQstatus(self._conn) != _CONNECTION_OK or not field("C"):
            return ConnectionProblem(field("M") or self._message())
        position = field("P")
        return ServerError(
            field("C"), field("M"), field("H"), int(position) if position else 0, field("c")
        )
