"""Who may include whom: runtime/floors.toml, and the rules for what stands on the runtime.

When this fails: move the code to the floor it belongs to, or the include out. A new file of the
runtime is entered in runtime/floors.toml.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import PurePath

import csource
import project
import pytest

TABLE = tomllib.loads(project.read("runtime/floors.toml"))
ORDER: list[str] = TABLE["order"]
FLOOR: dict[str, str] = {file: floor for floor, files in TABLE["files"].items() for file in files}
STEP: dict[str, int] = {
    file: step for files in TABLE["files"].values() for step, file in enumerate(files)
}
RUNTIME = [name.removeprefix("runtime/") for name in project.files(r"runtime/.*\.[ch]")]
UMBRELLA = "include/stele.h"
PRIVATE_HEADERS_OF = {"libpq-fe.h": {"conn"}, "jansson.h": {"value"}}


def locate(including: str, name: str) -> str | None:
    """The runtime's file that an include means, or None for one of the system."""
    for candidate in (f"include/{name}", str(PurePath(including).parent / name), f"src/{name}"):
        if candidate in RUNTIME:
            return candidate
    return None


def wrong_include(file: str, include: csource.Include) -> str:
    """What is wrong with an include, '' if nothing."""
    target = locate(file, include.name)
    floor = FLOOR[file]
    if target is None:
        allowed = PRIVATE_HEADERS_OF.get(include.name)
        if allowed is not None and floor not in allowed:
            return f"<{include.name}> belongs to floor {', '.join(allowed)}"
        return "" if include.system else f'"{include.name}" is no file of the runtime'
    if target == UMBRELLA:
        return "the umbrella is for users"
    if (ORDER.index(FLOOR[target]), STEP[target]) < (ORDER.index(floor), STEP[file]):
        return "" if target.endswith(".h") else f"{target} is no header"
    return f"{target} (floor {FLOOR[target]}) is not below this file (floor {floor})"


def test_every_file_of_the_runtime_has_one_floor() -> None:
    listed = [file for files in TABLE["files"].values() for file in files]
    assert sorted(listed) == sorted(set(listed)), "a file is listed twice"
    assert set(TABLE["files"]) <= set(ORDER)
    assert sorted(listed) == sorted(set(RUNTIME) - {UMBRELLA})


def test_a_file_that_names_its_floor_names_the_right_one() -> None:
    wrong = []
    for file, floor in FLOOR.items():
        said = re.search(r"Floor: (\w+)", project.read(f"runtime/{file}"))
        if said and said[1] != floor:
            wrong.append(f"{file} says {said[1]}, floors.toml says {floor}")
    assert not wrong


def test_includes_go_down() -> None:
    wrong = []
    for file in FLOOR:
        for include in csource.includes(project.read(f"runtime/{file}")):
            problem = wrong_include(file, include)
            if problem:
                wrong.append(f"runtime/{file}:{include.line}: {problem}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("file", "include", "fine"),
    [
        ("src/text.c", '"text_internal.h"', True),
        ("src/text.c", "<string.h>", True),
        ("src/text.c", '"link.h"', False),
        ("src/text.c", "<libpq-fe.h>", False),
        ("src/text.c", "<stele.h>", False),
        ("src/text.c", '"missing.h"', False),
        ("src/status_internal.h", '"mem_internal.h"', False),
        ("src/link.c", "<libpq-fe.h>", True),
        ("src/link.h", '"link_internal.h"', False),
    ],
)
def test_the_rule_itself(file: str, include: str, fine: bool) -> None:
    (parsed,) = csource.includes(f"/* #include <no.h> */\n#include {include}\n")
    assert (wrong_include(file, parsed) == "") == fine


def test_public_headers_need_no_private_ones() -> None:
    for file in RUNTIME:
        if file.startswith("include/"):
            for include in csource.includes(project.read(f"runtime/{file}")):
                target = locate(file, include.name)
                assert target is None or target.startswith("include/"), f"{file}: {include.name}"


def test_generated_code_stands_on_the_public_headers() -> None:
    wrong = []
    for file in project.files(r"generated/.*\.[ch]"):
        for include in csource.includes(project.read(file)):
            ours = locate("include/stele.h", include.name)
            own = include.name.endswith(".gen.h") and not include.system
            plain = include.system and "/" not in include.name and include.name != "libpq-fe.h"
            if not own and not plain and not (ours or "").startswith("include/stele"):
                wrong.append(f"{file}:{include.line}: {include.name}")
    assert not wrong


SQL = re.compile(
    r"\b(SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|VALUES|CREATE|ALTER|DROP|TRUNCATE|BEGIN|COMMIT"
    r"|NOTIFY|LISTEN|LOCK TABLE)\b"
    r"|(?i:\b(select\s.*\sfrom|insert\s+into|delete\s+from|update\s.*\sset)\b)"
)


@pytest.mark.parametrize(
    ("code", "fine"),
    [
        ('f("SELECT 1");', False),
        ('f("the text " /* SELECT */ "select id "\n  "from t");', False),
        ('f("delete " "from t"); // joined', False),
        ('f("cannot update the session"); /* UPDATE t SET */', True),
        ("g('S', \"a summary of \\\"all\\\" deleted rows\");", True),
    ],
)
def test_sql_is_recognised(code: str, fine: bool) -> None:
    assert (not any(SQL.search(text) for _, text in csource.strings(code))) == fine


def test_the_stores_contain_no_sql() -> None:
    wrong = []
    for file in project.files(r"stores/.*\.[ch]"):
        for line, text in csource.strings(project.read(file)):
            if SQL.search(text):
                wrong.append(f'{file}:{line}: "{text}" belongs in schema/ as a query')
        for include in csource.includes(project.read(file)):
            ours = (project.TOP / "stores/src" / include.name).exists()
            if include.name == "libpq-fe.h" or (include.name.endswith("_internal.h") and not ours):
                wrong.append(f"{file}:{include.line}: {include.name} is the runtime's own")
    assert not wrong
