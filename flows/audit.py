"""Audit: sampled scans of a day recomputed in 512-bit ball arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dolphin.errors import QualityError
from dolphin.scanner.reference import ball_correlation, enclose, participants
from dolphin.scanner.returns import one_bar_returns
from dolphin.scanner.scan import scan_batch
from dolphin.storage.arb512 import from_flint, matrix_path, write_matrix
from dolphin.storage.klines import KlineStore
from dolphin.storage.schema import DAY_MS
from dolphin.types import WINDOWS

__all__ = ["Audit", "AuditRow", "audit_day"]

TOLERANCE = 1e-12

type Track = Callable[[Iterable[Any], int, str], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One eigenvalue: ``inside`` = float64 within 1e-12 (relative) of a certified enclosure of the largest eigenvalue."""

    ts_ms: int
    window: int
    lambda_max: float
    relative_error: float
    certified: bool
    inside: bool


@dataclass(frozen=True, slots=True)
class Audit:
    """Rows of a day's sample and the matrix files that were written."""

    date: str
    rows: list[AuditRow]
    matrices: list[str]

    @property
    def found(self) -> bool:
        """Whether a row failed."""
        return not all(row.inside and row.certified for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"date": self.date, "found": self.found, "rows": [asdict(row) for row in self.rows], "matrices": self.matrices}

    def to_text(self) -> str:
        """What a person reads."""
        worst = max((row.relative_error for row in self.rows), default=0.0)
        bad = [row for row in self.rows if not (row.inside and row.certified)]
        lines = [f"{self.date}: {len(self.rows)} eigenvalues recomputed in 512-bit balls, worst relative error {worst:.1e}"]
        lines += [f"OUTSIDE: ts {r.ts_ms} window {r.window} lambda {r.lambda_max!r} error {r.relative_error:.1e}" for r in bad]
        return "\n".join(lines + ([] if bad else ["every float64 eigenvalue lies inside its certified enclosure"]))


def audit_day(store: KlineStore, date: str, samples: int, seed: int, matrices: Path | None, *, track: Track) -> Audit:
    """Recompute ``samples`` scans of a day (empty: the last), warmed up by the day before; ``seed`` draws them.

    ``matrices``: also write each sampled 50-bar correlation matrix there, exactly. Raises ``MissingDependency`` without python-flint.
    """
    dates = store.dates()
    date = date or dates[-1]
    if date not in dates:
        raise QualityError(f"there is no {date}", path=store.folder, hint=f"days are {dates[0]} to {dates[-1]}")
    at, symbols = dates.index(date), store.symbols()
    days = list(store.days(dates[max(0, at - 1) : at + 1], symbols))
    closes, ts, bar_ms = np.concatenate([d.closes for d in days]), np.concatenate([d.ts for d in days]), store.bar_seconds * 1000
    batch, returns = scan_batch(closes, bars=ts // bar_ms), one_bar_returns(closes, ts // bar_ms)
    ready = np.flatnonzero(np.isfinite(batch.lambda_max).all(axis=1) & (ts >= days[-1].ts[0]))
    if not len(ready):
        raise QualityError("no bar of the day has all four eigenvalues", path=store.path(date))
    chosen = np.sort(np.random.default_rng(seed).choice(ready, size=min(samples, len(ready)), replace=False)).tolist()
    rows, files = [], []
    for row in track(chosen, len(chosen), "scans audited"):
        close_ms = int(ts[row]) + bar_ms
        for k, window in enumerate(WINDOWS):
            value, enclosure = float(batch.lambda_max[row, k]), enclose(returns[row - window + 1 : row + 1])
            inside = enclosure.contains(value, TOLERANCE)
            rows.append(AuditRow(close_ms, window, value, enclosure.relative_error(value), enclosure.certified, inside))
        if matrices is not None:
            part = returns[row - WINDOWS[0] + 1 : row + 1]
            names = tuple(name for name, takes_part in zip(symbols, participants(part), strict=True) if takes_part)
            path = matrix_path(matrices, date, int(ts[row]) % DAY_MS // bar_ms, close_ms)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_matrix(path, from_flint(names, ball_correlation(part)))
            files.append(str(path))
    return Audit(date, rows, files)
