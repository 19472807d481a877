"""Records of a file, one by one, with where each begins and ends. Constant memory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from stele.transfer_types import Json, read_json

_RECORD_MAX: Final = 1 << 30
# A field of CSV: in quotes, doubled inside, or plain up to the comma.
_FIELD: Final = re.compile(r'"((?:[^"]|"")*)"|([^",]*)')


class FormatProblem(Exception):
    """The file as a whole cannot be read."""


@dataclass(frozen=True, slots=True)
class Record:
    """A line of JSON, or a row of CSV; `problem` says why it has no values."""

    line: int  # where it begins, from 1
    end: int  # byte behind it
    raw: str
    values: dict[str, Json]
    problem: str = ""


class Reader:
    """Reads a file from some byte on, and keeps a hash of all that was read."""

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in (".csv", ".jsonl", ".ndjson"):
            raise FormatProblem(f"{path}: name it .jsonl (a JSON object on each line) or .csv")
        self.path = path
        self.size = path.stat().st_size
        self.file: BinaryIO = path.open("rb")
        self.hash = hashlib.sha256()
        self.at = 0
        self.line = 0
        self.is_csv = path.suffix.lower() == ".csv"
        self.header: list[str] = []
        if self.is_csv:
            try:
                self._read_header()
            except FormatProblem:
                self.close()
                raise

    def close(self) -> None:
        self.file.close()

    def digest(self) -> str:
        return self.hash.hexdigest()

    def skip_to(self, position: int, line: int) -> str:
        """Goes to a byte behind the header; the hash of all before it."""
        while self.at < position:
            chunk = self.file.read(min(1 << 20, position - self.at))
            if not chunk:
                break
            self.hash.update(chunk)
            self.at += len(chunk)
        self.line = line
        return self.digest()

    def _take(self) -> bytes:
        """The next record's bytes, with the end of its line; b'' at the end."""
        data = self.file.readline(_RECORD_MAX)
        if self.is_csv:
            pieces = [data]
            quotes = data.count(b'"')
            while quotes % 2 and (data := self.file.readline(_RECORD_MAX)):
                pieces.append(data)
                quotes += data.count(b'"')
            data = b"".join(pieces)
        self.hash.update(data)
        self.at += len(data)
        return data

    def _read_header(self) -> None:
        data = self._take()
        self.line = data.count(b"\n")
        try:
            fields = _fields(data.decode("utf-8-sig").rstrip("\r\n"))
        except (UnicodeDecodeError, ValueError) as error:
            raise FormatProblem(f"{self.path}:1: the header cannot be read: {error}") from error
        self.header = [one or "" for one in fields]
        twice = {one for one in self.header if self.header.count(one) > 1}
        if not data or twice or "" in self.header:
            what = f'"{twice.pop()}" stands twice' if twice else "a name is missing"
            raise FormatProblem(f"{self.path}:1: the first line must name the columns: {what}")

    def records(self) -> Iterator[Record]:
        while data := self._take():
            line = self.line + 1
            self.line += max(data.count(b"\n"), 1)
            text = data.decode("utf-8", "replace").rstrip("\r\n")
            if text.strip() or (self.is_csv and len(self.header) == 1):
                yield self._record(line, data, text)

    def _record(self, line: int, data: bytes, text: str) -> Record:
        try:
            exact = data.decode().rstrip("\r\n")
            values = self._csv(exact) if self.is_csv else _object(exact)
        except UnicodeDecodeError as error:
            return Record(line, self.at, text, {}, f"byte {error.start + 1} is not UTF-8")
        except (ValueError, RecursionError) as error:
            return Record(line, self.at, text, {}, str(error))
        return Record(line, self.at, text, values)

    def _csv(self, text: str) -> dict[str, Json]:
        fields = _fields(text)
        if len(fields) != len(self.header):
            raise ValueError(f"{len(fields)} fields, the header has {len(self.header)}")
        return dict(zip(self.header, fields, strict=True))


def _object(text: str) -> dict[str, Json]:
    try:
        value = read_json(text)
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def _fields(text: str) -> list[str | None]:
    """NULL is what stands empty without quotes."""
    fields: list[str | None] = []
    at = 0
    while True:
        match = _FIELD.match(text, at)
        if match is None:  # cannot be: the plain alternative matches nothing at all
            raise ValueError("a field cannot be read")
        quoted, plain = match.groups()
        fields.append(quoted.replace('""', '"') if quoted is not None else plain or None)
        at = match.end()
        if at == len(text):
            return fields
        if text[at] != ",":
            raise ValueError(f"a quote in field {len(fields)} is out of place")
        at += 1
