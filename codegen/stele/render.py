"""Views → {file name: text}. Writes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stele.lower_view import ModuleView

TEMPLATES: Final = Path(__file__).with_name("templates")


def generator_files() -> list[Path]:
    """What output depends on beside the schema: the templates and the generator itself."""
    return sorted([*TEMPLATES.glob("*.j2"), *TEMPLATES.parent.glob("*.py")])


def environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def output_names(module: str) -> tuple[str, str]:
    return (f"{module}.gen.h", f"{module}.gen.c")


def render(views: tuple[ModuleView, ...]) -> dict[str, str]:
    """The header and the source of each module."""
    env = environment()
    templates = [env.get_template(name) for name in ("module.h.j2", "module.c.j2")]
    return {
        name: template.render(view=view)
        for view in views
        for name, template in zip(output_names(view.name), templates, strict=True)
    }
