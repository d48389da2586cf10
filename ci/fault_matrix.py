"""The table of the fault matrix: what was done, what had to happen, what was seen, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["MATRIX", "Matrix"]


@dataclass
class Matrix:
    """Rows in the order in which they were seen."""

    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def add(self, fault: str, expected: str, seen: str, seconds: float | None = None) -> None:
        """A row is added before anything is asserted about it."""
        self.rows.append((fault, expected, seen, "" if seconds is None else f"{seconds:.1f}"))

    def markdown(self) -> str:
        """As it goes into a closing note."""
        lines = ["| fault | expected | seen | seconds |", "|---|---|---|---|"]
        return "\n".join([*lines, *("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in self.rows)])

    def write(self, path: Path) -> None:
        """Also as a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.markdown() + "\n", encoding="utf-8")


MATRIX = Matrix()
"""Of this session."""
