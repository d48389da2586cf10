"""Every error this package raises on purpose.

::

    DolphinError            exit 1   something we foresaw; the message says what, where and how to mend it
    |-- Fenced              exit 1   another process writes what this one wants to write: stop this one
    |-- CheckFailed         exit 1   a check found something (look-ahead, parity, audit, stale cache): read its table
    |-- ConfigError         exit 2   a setting is unknown, malformed or out of range: mend the named field
    |-- DataError           exit 3   a file or table was refused: nothing was read from it, nothing half-written
    |   |-- MalformedFile   exit 3   not the format it claims (truncated, bit flips, bomb, pickle): fetch it again
    |   |-- SchemaError     exit 3   a column is missing, duplicated or of the wrong type: convert the file
    |   `-- QualityError    exit 3   values break a rule (order, spacing, prices, date): repair or drop the rows
    |-- MissingDependency   exit 4   a program, service or extra is absent: install or start the named one
    `-- Unavailable         exit 4   it exists but cannot be had now (held by a process, disk full, read-only): free it
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "CheckFailed",
    "ConfigError",
    "DataError",
    "DolphinError",
    "Fenced",
    "MalformedFile",
    "MissingDependency",
    "QualityError",
    "SchemaError",
    "Unavailable",
]


class DolphinError(Exception):
    """Root of the tree. Read the message: it names the place and the mend."""

    exit_code = 1


class CheckFailed(DolphinError):
    """A check did its work and found something. Read the rows it printed."""


class Fenced(DolphinError):
    """Another writer came after this one; nothing was written. Stop this process, or the other, and start again."""


class ConfigError(DolphinError):
    """A setting is wrong. Mend the field that the message names."""

    exit_code = 2


class DataError(DolphinError):
    """Data was refused.

    The message reads ``FILE: column C, row R: WHY (HINT)``; the parts are kept as attributes.
    Rows count from 0 in the order of the file.
    """

    exit_code = 3

    def __init__(
        self,
        why: str,
        *,
        path: Path | str | None = None,
        column: str | None = None,
        row: int | None = None,
        hint: str = "",
    ) -> None:
        self.why, self.path, self.column, self.row, self.hint = why, path, column, row, hint
        place = ", ".join(p for p in (f"column {column}" if column else "", f"row {row}" if row is not None else "") if p)
        parts = [str(path) if path else "", place, why]
        super().__init__(": ".join(p for p in parts if p) + (f" ({hint})" if hint else ""))


class MalformedFile(DataError):
    """The bytes are not what the name promises. Fetch or rebuild the file."""


class SchemaError(DataError):
    """The columns are not the expected ones. Convert the file with ``dolphin data import``."""


class QualityError(DataError):
    """The values break a rule of the format. Repair the source, or drop the named rows."""


class MissingDependency(DolphinError):
    """A program, service or optional package is absent. ``dolphin doctor`` says how to get it."""

    exit_code = 4


class Unavailable(DolphinError):
    """A lock is held, a disk is full or read-only, a port is taken, a receiver does not answer. Free the named thing, then try again."""

    exit_code = 4
