"""Diagnostics: what is wrong with an input, where, and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field

from stele.model import Span


@dataclass(frozen=True, slots=True, order=True)
class Diagnostic:
    """One problem. `code` is stable, such as S017; `hint` is the remedy, '' if it is plain."""

    path: str
    line: int
    column: int
    code: str
    message: str
    hint: str = ""
    severity: str = "error"

    def __str__(self) -> str:
        text = (
            f"{self.path}:{self.line}:{self.column}: {self.severity}[{self.code}]: {self.message}"
        )
        return f"{text}; {self.hint}" if self.hint else text


@dataclass(slots=True)
class Diagnostics:
    """Collects problems of one run; every phase adds to the same one."""

    items: list[Diagnostic] = field(default_factory=list)

    def error(self, span: Span, code: str, message: str, hint: str = "") -> None:
        self.items.append(Diagnostic(span.path, span.line, span.column, code, message, hint))

    def warning(self, span: Span, code: str, message: str, hint: str = "") -> None:
        self.items.append(
            Diagnostic(span.path, span.line, span.column, code, message, hint, "warning")
        )

    @property
    def failed(self) -> bool:
        return any(item.severity == "error" for item in self.items)

    def sorted(self) -> list[Diagnostic]:
        return sorted(set(self.items))
