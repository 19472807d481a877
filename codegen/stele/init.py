"""A new project that builds and runs at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from stele.names import c_global, c_ident
from stele.render import environment
from stele.write import write_file

# template → file; {name} is the project's
_FILES: Final = {
    "init/README.md.j2": "README.md",
    "init/schema.yaml.j2": "schema/{name}.yaml",
    "init/meson.build.j2": "meson.build",
    "init/main.c.j2": "main.c",
}
_LONGEST: Final = 32


class InitError(Exception):
    """The name cannot be used."""


def make_project(parent: Path, name: str) -> list[Path]:
    """Makes the folder `name`; the files in it. Nothing is overwritten."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or len(name) > _LONGEST:
        raise InitError(
            f'"{name}" cannot name a project: use lower-case letters, digits and underscores, '
            f"at most {_LONGEST}, beginning with a letter"
        )
    if c_global(name) != name or c_ident(name) != name or name.startswith("stele"):
        raise InitError(f'"{name}" has a meaning in C already; choose another name')
    folder = parent / name
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InitError(f'"{folder}" exists already and is not an empty folder')
    env = environment()
    written = []
    for template, target in _FILES.items():
        path = folder / target.format(name=name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, env.get_template(template).render(name=name))
        written.append(path)
    return written
