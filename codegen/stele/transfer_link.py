"""COPY in both directions, and statements with parameters, on the connection of libpq.py."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from ctypes import POINTER, c_char, c_char_p, c_int, c_void_p
from typing import Final

from stele.libpq import Connection, ConnectionProblem, Row

_COPY_OUT: Final = 3
_COPY_IN: Final = 4
_MORE: Final[dict[str, tuple[object, tuple[object, ...]]]] = {
    "PQputCopyData": (c_int, (c_void_p, c_char_p, c_int)),
    "PQputCopyEnd": (c_int, (c_void_p, c_char_p)),
    "PQgetCopyData": (c_int, (c_void_p, POINTER(POINTER(c_char)), c_int)),
    "PQfreemem": (None, (c_void_p,)),
    "PQgetResult": (c_void_p, (c_void_p,)),
    "PQcmdTuples": (c_char_p, (c_void_p,)),
    "PQexecParams": (
        c_void_p,
        (c_void_p, c_char_p, c_int, c_void_p, POINTER(c_char_p), c_void_p, c_void_p, c_int),
    ),
}
# What values look like must not depend on the role or the database.
_SETTINGS: Final = (
    "SET application_name = 'stele'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; "
    "SET timezone = 'UTC'; SET extra_float_digits = 1; SET bytea_output = 'hex'; "
    "SET client_min_messages = 'error'"
)


class TransferConnection(Connection):
    """One session, set up so that text means the same everywhere."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        for name, (result, arguments) in _MORE.items():
            function = getattr(self._pq, name)
            function.restype = result
            function.argtypes = arguments
        self.execute(_SETTINGS)

    def run(self, sql: str, *params: str | None) -> tuple[list[Row], int]:
        """Runs one statement: its rows, as text, and how many rows it was about."""
        values = (c_char_p * max(len(params), 1))(
            *(None if one is None else one.encode() for one in params)
        )
        found = self._pq.PQexecParams(
            self._conn, sql.encode(), len(params), None, values, None, None, 0
        )
        with self._result(found) as result:
            width = self._pq.PQnfields(result)
            rows = [
                tuple(self._value(result, i, j) for j in range(width))
                for i in range(self._pq.PQntuples(result))
            ]
            return rows, int(self._pq.PQcmdTuples(result) or b"0")

    def copy_in(self, sql: str, chunks: Sequence[bytes]) -> None:
        self._begin(sql, _COPY_IN)
        for chunk in chunks:
            if self._pq.PQputCopyData(self._conn, chunk, len(chunk)) != 1:
                raise ConnectionProblem(self._message())
        if self._pq.PQputCopyEnd(self._conn, None) != 1:
            raise ConnectionProblem(self._message())
        self._end()

    def copy_out(self, sql: str) -> Iterator[bytes]:
        """The lines, one after another."""
        self._begin(sql, _COPY_OUT)
        line = POINTER(c_char)()
        while (size := self._pq.PQgetCopyData(self._conn, ctypes.byref(line), 0)) > 0:
            try:
                yield ctypes.string_at(line, size)
            finally:
                self._pq.PQfreemem(line)
        if size == -2:
            raise ConnectionProblem(self._message())
        self._end()

    def _begin(self, sql: str, wanted: int) -> None:
        result = self._pq.PQexec(self._conn, sql.encode())
        if result is not None and self._pq.PQresultStatus(result) == wanted:
            self._pq.PQclear(result)
            return
        with self._result(result):
            raise ConnectionProblem("the server does not copy")

    def _end(self) -> None:
        """Reads what the server answers at the end, whatever it says."""
        problem: Exception | None = None
        while (result := self._pq.PQgetResult(self._conn)) is not None:
            try:
                with self._result(result):
                    pass
            except Exception as error:
                problem = problem or error
        if problem is not None:
            raise problem
