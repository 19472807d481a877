"""The example that asks a model, against an endpoint of our own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from database import Database

Reply = Callable[["Handler"], None]


class Endpoint(ThreadingHTTPServer):
    """Answers as `reply` says and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply: Reply = answer("fine")
        self.asked: list[tuple[dict[str, str], Any]] = []
        self.done = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/chat/completions"


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((dict(self.headers), json.loads(body)))
        self.server.reply(self)

    def send(self, status: int, body: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def answer(text: str | None) -> Reply:
    message = {"role": "assistant", "content": text}
    body = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
    return lambda handler: handler.send(200, body)


def raw(status: int, body: bytes, length: int | None = None) -> Reply:
    return lambda handler: handler.send(status, body, length)


def keep_waiting(handler: Handler) -> None:
    handler.server.done.wait(30)


def trickle(handler: Handler) -> None:
    """Sends something each moment, and never ends."""
    handler.send(200, b"{", length=1 << 20)
    while not handler.server.done.wait(0.02):
        try:
            handler.wfile.write(b" ")
        except OSError:
            return


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.done.set()
    server.shutdown()
    thread.join()
    server.server_close()


class Example:
    """The program, with a conversation and a database."""

    def __init__(self, program: Path, conversation: Path, database: Database) -> None:
        self.program, self.conversation, self.database = program, conversation, database

    def run(self, *model: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, self.conversation, *model],
            capture_output=True,
            text=True,
            env={**os.environ, "STELE_DSN": self.database.url, **environment},
        )

    def fails(self, *model: str, **environment: str) -> str:
        """What it says when it fails; nothing may have been stored then."""
        done = self.run(*model, **environment)
        assert done.returncode == 1 and done.stdout == "", done
        assert self.summaries() == []
        return done.stderr

    def summaries(self) -> list[Any]:
        rows = self.database.psql("SELECT summary FROM session_summaries WHERE deleted_at IS NULL")
        return [json.loads(row) for row in rows.splitlines()]


@pytest.fixture
def example(top: Path, build: Path, database: Database) -> Example:
    program = build / "examples/summarizer/summarize"
    if not program.exists():
        pytest.skip("libcurl is not installed")
    return Example(program, top / "examples/demo/conversation.jsonl", database)


def test_it_needs_no_network(example: Example) -> None:
    done = example.run()
    assert done.returncode == 0, done.stderr
    assert "room" in done.stdout
    assert [row["summary"] for row in example.summaries()] == [done.stdout.removesuffix("\n")]


def test_a_model_is_asked(example: Example, endpoint: Endpoint) -> None:
    endpoint.reply = answer("They moved to the \u201cmap room\u201d.")
    done = example.run(endpoint.url, "small-1", STELE_API_KEY="k-123")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "They moved to the \u201cmap room\u201d.\n"
    ((headers, body),) = endpoint.asked
    assert headers["Authorization"] == "Bearer k-123"
    assert headers["Content-Type"] == "application/json"
    assert body["model"] == "small-1"
    system, user = body["messages"]
    assert system["role"] == "system" and "at most 200 words" in system["content"]
    first = json.loads(example.conversation.read_text().splitlines()[0])
    assert user["role"] == "user" and user["content"].startswith(f"user: {first['content']}\n")
    assert 'desk: calls find_bookings({"member": "m-2071"' in user["content"]
    (stored,) = example.summaries()
    assert stored["boundary"]["version"] == 1


def test_a_failing_server_is_told(example: Example, endpoint: Endpoint) -> None:
    endpoint.reply = raw(500, b'{"error": "overloaded"}')
    said = example.fails(endpoint.url, "m")
    assert "STELE_E_SERVER" in said and "answered with status 500" in said


def test_a_refusal_is_told(example: Example, endpoint: Endpoint) -> None:
    endpoint.reply = raw(401, b"no key")
    assert "answered with status 401" in example.fails(endpoint.url, "m")


def test_malformed_json_is_told(example: Example, endpoint: Endpoint) -> None:
    endpoint.reply = raw(200, b'{"choices": [')
    said = example.fails(endpoint.url, "m")
    assert "STELE_E_DECODE" in said and "is no JSON" in said


@pytest.mark.parametrize("body", [b"{}", b'{"choices": []}', b'{"choices": [{"message": {}}]}'])
def test_an_answer_without_text_is_told(example: Example, endpoint: Endpoint, body: bytes) -> None:
    endpoint.reply = raw(200, body)
    assert "has no choices[0].message.content" in example.fails(endpoint.url, "m")


def test_an_empty_text_is_no_summary(example: Example, endpoint: Endpoint) -> None:
    endpoint.reply = answer("")
    assert "STELE_E_NOT_FOUND" in example.fails(endpoint.url, "m")


def test_a_model_that_takes_too_long_is_given_up(example: Example, endpoint: Endpoint) -> None:
    endpoint.reply = keep_waiting
    said = example.fails(endpoint.url, "m", STELE_MODEL_TIMEOUT_MS="3000")
    assert "STELE_E_TIMEOUT" in said and "no answer from" in said
    assert len(endpoint.asked) == 1


def test_a_model_that_never_ends_is_given_up(example: Example, endpoint: Endpoint) -> None:
    endpoint.reply = trickle
    said = example.fails(endpoint.url, "m", STELE_MODEL_TIMEOUT_MS="3000")
    assert "STELE_E_TIMEOUT" in said and "no answer from" in said


def test_a_long_text_is_a_summary(example: Example, endpoint: Endpoint) -> None:
    endpoint.reply = answer("long " * 600_000)
    done = example.run(endpoint.url, "m")
    assert done.returncode == 0, done.stderr
    assert [row["summary"] for row in example.summaries()] == ["long " * 600_000]


@pytest.mark.parametrize("status", [200, 503])
def test_an_answer_without_end_is_told(example: Example, endpoint: Endpoint, status: int) -> None:
    def flood(handler: Handler) -> None:
        try:
            handler.send(status, b"x" * (64 << 20))
        except OSError:
            handler.server.done.set()  # it did not read on

    endpoint.reply = flood
    said = example.fails(endpoint.url, "m")
    assert "STELE_E_DECODE" in said and "an answer of more than 4194304 bytes" in said
    assert endpoint.done.wait(30)


def test_another_address_is_not_followed(example: Example, endpoint: Endpoint) -> None:
    def send_away(handler: Handler) -> None:
        handler.send_response(307)
        handler.send_header("Location", endpoint.url)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    endpoint.reply = send_away
    assert "answered with status 307" in example.fails(endpoint.url, "m", STELE_API_KEY="k-123")
    assert len(endpoint.asked) == 1  # the key went nowhere else


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices": [{"message": {"content": "a\\u0000b"}}]}',
        b'{"choices": [{"message": {"content": "\xff\xfe"}}]}',
        b'{"choices": [{"message": {"content": "\\ud800"}}]}',
        b'{"choices": ' + b"[" * 100_000,
        b"<html>not found</html>",
        b"",
    ],
)
def test_what_no_text_can_hold_is_told(example: Example, endpoint: Endpoint, body: bytes) -> None:
    endpoint.reply = raw(200, body)
    said = example.fails(endpoint.url, "m")
    assert "STELE_E_DECODE" in said and "is no JSON" in said


def test_an_answer_that_breaks_off_is_told(example: Example, endpoint: Endpoint) -> None:
    endpoint.reply = raw(200, b'{"choices"', length=500)
    assert "STELE_E_LOST" in example.fails(endpoint.url, "m")


def test_an_endpoint_that_is_not_there_is_told(example: Example) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1/chat/completions"
    assert "STELE_E_CONNECT" in example.fails(url, "m")


def test_files_are_no_endpoints(example: Example, tmp_path: Path) -> None:
    (tmp_path / "answer").write_text("{}")
    said = example.fails((tmp_path / "answer").as_uri(), "m")
    assert "STELE_E_CONNECT" in said
