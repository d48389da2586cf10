"""The table of trials: parts while it grows, one parquet file when it is whole, refused when damaged or foreign."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from dolphin.config import EngineConfig, config_hash
from dolphin.errors import MalformedFile, QualityError, SchemaError
from dolphin.forewarner.condition import CONDITION
from dolphin.forewarner.envelope import ENVELOPE
from dolphin.forewarner.trial import OUTCOMES
from dolphin.storage.digest import digest
from dolphin.storage.parquet import Parquet, write_parquet
from dolphin.storage.publish import publish
from dolphin.types import Array, Ints

__all__ = ["COLUMNS", "KEYS", "SCHEMA", "CalendarDay", "TrialPlan", "TrialTable", "read_table", "write_table"]

SCHEMA: Final = "dolphin.forewarner-trials/1"
KEYS: Final = ("trial", "pool", "start", "engine_seed")
"""Number of the trial, its pool (0 early, 1 late), place of its path's first day, seed of its cost draws."""

COLUMNS: Final = (*KEYS, *ENVELOPE, *CONDITION, *OUTCOMES)
"""float64 columns in memory; in the file ``KEYS`` are int64. Condition: of the day before the path's first."""


class CalendarDay(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A real day: its table's sha256, and its condition (null = NaN)."""

    date: str
    sha256: str
    condition: list[float | None]


class TrialPlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides the trials: base configuration, seed, days, bootstrap, and a hash of the code that ran them.

    ``config`` has the varied settings and the seed at their champion values.
    """

    config: EngineConfig
    seed: int
    path_days: int
    block_days: float
    direction: int
    days: list[CalendarDay]
    envelope: dict[str, tuple[float, float]]
    code: str

    @property
    def digest(self) -> str:
        """Hexadecimal sha256 of the plan; parts and tables of different plans never mix."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    @property
    def config_hash(self) -> str:
        """Hash of the base configuration."""
        return config_hash(self.config)

    def condition(self, day: int) -> Array:
        """float64[7], condition of day ``day`` of the calendar."""
        return np.array([np.nan if value is None else value for value in self.days[day].condition])


@dataclass(frozen=True)
class TrialTable:
    """``values`` float64[n, len(COLUMNS)], a row a trial, ascending by number."""

    plan: TrialPlan
    values: Array

    def column(self, name: str) -> Array:
        """float64[n]."""
        return np.asarray(self.values[:, COLUMNS.index(name)])

    def features(self) -> Array:
        """float64[n, 15]: settings, then condition."""
        first = len(KEYS)
        return np.ascontiguousarray(self.values[:, first : first + len(ENVELOPE) + len(CONDITION)])

    def starts(self) -> Ints:
        """int64[n], place of each path's first day."""
        return self.column("start").astype(np.int64)


def write_table(path: Path, table: TrialTable) -> None:
    """Publish the table: parquet with page checksums, the plan, and a digest over plan and values."""
    columns = {name: table.column(name).astype(np.int64) if name in KEYS else np.ascontiguousarray(table.column(name)) for name in COLUMNS}
    plan = msgspec.json.encode(table.plan, order="sorted").decode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with publish(path) as temporary:
        write_parquet(temporary, columns, {"schema": SCHEMA, "plan": plan, "digest": _digest(plan, table.values)})


def read_table(path: Path) -> TrialTable:
    """Read a table or a part.

    Raises ``SchemaError`` for a file that is no table of trials (or of another version), ``MalformedFile`` for damage and
    ``QualityError`` for values that no trial can have.
    """
    with Parquet(path) as file:
        if file.metadata.get("schema") != SCHEMA:
            found = file.metadata.get("schema", "none")
            raise SchemaError(f"expected schema {SCHEMA}, found {found}", path=path, hint="`dolphin forewarner train` writes one")
        file.require(COLUMNS, {name: "int64" if name in KEYS else "float" for name in COLUMNS})
        read = file.read(COLUMNS)
        values = np.column_stack([file.numbers(read, name).astype(np.float64) for name in COLUMNS])
        text = file.metadata.get("plan", "")
        if file.metadata.get("digest") != _digest(text, values):
            raise MalformedFile("the content is not what its digest says", path=path, hint="run `dolphin forewarner train` again")
    try:
        plan = msgspec.json.decode(text, type=TrialPlan)
    except msgspec.MsgspecError as error:
        raise SchemaError(f"its plan cannot be read ({error})", path=path, column="plan") from error
    table = TrialTable(plan, values)
    _refuse_bad(table, path)
    return table


def _digest(plan: str, values: Array) -> str:
    return hashlib.sha256(f"{plan}|{digest(np.ascontiguousarray(values))}".encode()).hexdigest()


def _refuse_bad(table: TrialTable, path: Path) -> None:
    if {name: tuple(bounds) for name, bounds in table.plan.envelope.items()} != dict(ENVELOPE):
        raise SchemaError("the trials draw from another envelope", path=path, column="plan", hint="run `dolphin forewarner train` again")
    if any(len(day.condition) != len(CONDITION) for day in table.plan.days):
        raise SchemaError(f"a day's condition has not {len(CONDITION)} figures", path=path, column="plan")
    bounds = {
        "trial": (0, np.inf),
        "pool": (0, 1),
        "start": (1, len(table.plan.days) - 1),
        **ENVELOPE,
        **{f"{ledger}_{name}": span for ledger in ("honest", "champion") for name, span in _OUTCOMES.items()},
        "trades": (0, np.inf),
    }
    for name, (low, high) in bounds.items():
        column = table.column(name)
        bad = ~((column >= low - 1e-12) & (column <= high + 1e-12))
        if name.endswith("profit_factor"):
            bad &= ~np.isnan(column)
        if bad.any():
            row = int(np.argmax(bad))
            raise QualityError(f"{column[row]} lies outside [{low:g}, {high:g}]", path=path, column=name, row=row)
    if (np.diff(table.column("trial")) <= 0).any():
        raise QualityError("trials are not ascending", path=path, column="trial")


_OUTCOMES = {"roi": (-np.inf, np.inf), "max_drawdown": (0.0, 1.0), "profit_factor": (0.0, np.inf)}
