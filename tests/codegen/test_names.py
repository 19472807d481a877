"""Names in C and SQL, against a compiler and a server."""

from __future__ import annotations

import subprocess

import pytest
from database import Database
from stele import names

HEADERS = sorted(
    names.words(
        """
    complex.h errno.h fcntl.h math.h netdb.h netinet/in.h poll.h pthread.h setjmp.h signal.h
    stdbool.h stddef.h stdint.h stdio.h stdlib.h string.h sys/resource.h sys/socket.h sys/stat.h
    sys/wait.h threads.h time.h unistd.h
        """
    )
)
WORDS = sorted(
    names.C_KEYWORDS | names.CPP_KEYWORDS | names.C_MACROS | names.C_LIBRARY | names.C_PARAMETERS
)
GLOBALS = [word for word in WORDS if names.c_global(word) != word]


def compiles(source: str, *command: str) -> None:
    done = subprocess.run(
        [*command, "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-"],
        input=source,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("gcc", "-std=c11", "-x", "c"),
        ("gcc", "-std=gnu11", "-D_GNU_SOURCE", "-x", "c"),
        ("g++", "-std=c++17", "-x", "c++"),
        ("g++", "-std=c++20", "-x", "c++"),
    ],
    ids=" ".join,
)
def test_escaped_words_compile(command: tuple[str, ...]) -> None:
    headers = [h for h in HEADERS if "c++" not in command or h not in ("threads.h", "complex.h")]
    lines = [f"#include <{header}>" for header in headers]
    members = [f"    int64_t {names.c_ident(word)};" for word in WORDS]
    for word in WORDS:
        parameter = names.c_global(word)
        head = f"int take_{word}(int conn, int {parameter}, int *err)"
        lines += [f"{head};", f"{head} {{ return conn + {parameter} + *err; }}"]
    lines += ["struct members {", *members, "};"]
    lines += [f"typedef struct {{ int a; }} {names.c_global(word)};" for word in GLOBALS]
    compiles("\n".join(lines) + "\n", *command)


def test_every_macro_in_lower_case_is_known() -> None:
    """What headers define without arguments and in lower case cannot be a member."""
    source = "".join(f"#include <{header}>\n" for header in HEADERS)
    for standard in ("-std=c11", "-std=gnu11"):
        done = subprocess.run(
            ["gcc", standard, "-D_GNU_SOURCE", "-dM", "-E", "-x", "c", "-"],
            input=source,
            capture_output=True,
            text=True,
            check=True,
        )
        found = {line.split()[1] for line in done.stdout.splitlines()}
        plain = {name for name in found if name.islower() and name.isidentifier()}
        plain = {name for name in plain if not name.startswith("_")}
        assert {name for name in plain if names.c_ident(name) == name} == set()
        assert {"errno", "stdin"} <= plain


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        *(("unix", "unix_"), ("linux", "linux_"), ("errno", "errno_"), ("class", "class_")),
        *(("stdin", "stdin_"), ("signal", "signal_"), ("int64_t", "int64_t_")),
        *(("name", "name"), ("conn", "conn"), ("index", "index"), ("classes", "classes")),
    ],
)
def test_members(name: str, escaped: str) -> None:
    assert names.c_ident(name) == escaped


def test_parameters_and_globals() -> None:
    assert names.c_global("conn") == "conn_" and names.c_global("id") == "id"
    assert names.c_global("index") == "index_" and names.c_global("orders") == "orders"


@pytest.mark.parametrize(
    ("name", "upper"),
    [
        *(("open", "OPEN"), ("in transit", "IN_TRANSIT"), ("in--transit", "IN_TRANSIT")),
        *((" a ", "A"), ("größe", "GR_E"), ("+", ""), ("1st", "1ST"), ("camelCase", "CAMELCASE")),
    ],
)
def test_constants(name: str, upper: str) -> None:
    assert names.upper_ident(name) == upper


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        *(("id", "id"), ("_a9", "_a9"), ("Id", '"Id"'), ("a b", '"a b"'), ('a"b', '"a""b"')),
        *(("order", '"order"'), ("user", '"user"'), ("9a", '"9a"'), ("größe", '"größe"')),
        *(("key", "key"), ("value", "value"), ("a$b", '"a$b"'), ("", '""')),
    ],
)
def test_sql_names(name: str, quoted: str) -> None:
    assert names.sql_ident(name) == quoted


def test_the_server_agrees_on_what_to_quote(database: Database) -> None:
    words = database.psql("SELECT word FROM pg_get_keywords() WHERE catcode <> 'U'").split()
    assert len(words) > 100 and set(words) <= names.SQL_RESERVED
    # what this version does not reserve, another one between 14 and 18 does
    later = {word for word in names.SQL_RESERVED if word.startswith("json_")}
    assert names.SQL_RESERVED - later <= {*words, "system_user", "merge_action"}


LITERALS = ["", "a", "it's", "a\\b", "\\'", "ä€", "'; --", "$$", "\n\t", 'q"q']


@pytest.mark.parametrize("conforming", ["on", "off"])
def test_literals_mean_the_same_on_the_server(conforming: str, database: Database) -> None:
    for text in LITERALS:
        hexed = text.encode().hex() + "00"
        sql = (
            f"SET standard_conforming_strings = {conforming}; SET escape_string_warning = off;"
            f" SELECT encode(convert_to({names.quote_literal(text)}, 'UTF8'), 'hex') || '00'"
        )
        assert database.psql(sql).split()[-1:] == [hexed], text
