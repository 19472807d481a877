"""What the sessions store's page quotes is what its example does.

When this fails: change docs/reference/sessions.md and examples/sessions/sessions.c alike.
"""

from __future__ import annotations

import re
import textwrap

import project


def plain(text: str) -> str:
    """A text with its lines as they are, but for their indentation."""
    return "\n".join(line.strip() for line in textwrap.dedent(text).strip().split("\n"))


def test_the_page_quotes_the_example() -> None:
    page = project.read("docs/reference/sessions.md")
    example = plain(project.read("examples/sessions/sessions.c"))
    quoted = re.findall(r"```c\n(.*?)```", page, re.DOTALL)
    assert len(quoted) >= 4
    for block in quoted:
        assert plain(block) in example, block


def test_the_page_names_functions_that_exist() -> None:
    headers = project.read("stores/include/stele/sessions.h") + project.read(
        "stores/include/stele/session.h"
    )
    page = project.read("docs/reference/sessions.md")
    for name in set(re.findall(r"`(stele_\w+)", page)):
        assert re.search(rf"\b{name}\b", headers), name
    for name in set(re.findall(r"^\|.*\| `([a-z_]+)`", page, re.MULTILINE)):
        assert re.search(rf"\b{name}\b", headers), name
