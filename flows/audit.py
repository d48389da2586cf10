"""Audit: sampled scans of a day recomputed in 512-bit ball arithmetic."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dolphin.errors import QualityError
from dolphin.scanner.reference import PRECISION, AuditRow, audit, correlation_balls
from dolphin.scanner.scan import scan_batch
from dolphin.storage.arb512 import from_flint, matrix_path, write_matrix
from dolphin.storage.klines import KlineStore
from dolphin.storage.schema import DAY_MS, date_of
from dolphin.types import WINDOWS, Array, Ints

__all__ = ["Audit", "audit_day"]


@dataclass(frozen=True, slots=True)
class Audit:
    """Rows of a day's sample and the matrix files that were written."""

    date: str
    rows: list[AuditRow]
    matrices: list[str]

    @property
    def found(self) -> bool:
        """Whether an eigenvalue lies outside its enclosure."""
        return not all(row.inside for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"date": self.date, "found": self.found, "rows": [asdict(row) for row in self.rows], "matrices": self.matrices}

    def to_text(self) -> str:
        """What a person reads."""
        worst = max((abs(row.relative_error) for row in self.rows), default=0.0)
        bad = [row for row in self.rows if not row.inside]
        lines = [f"{self.date}: {len(self.rows)} eigenvalues recomputed in 512-bit balls, worst relative error {worst:.1e}"]
        lines += [f"OUTSIDE: bar {r.bar} window {r.window} lambda {r.lambda_max!r} error {r.relative_error:.1e} ({r.proof})" for r in bad]
        return "\n".join(lines + ([] if bad else ["every float64 eigenvalue lies inside its proven enclosure"]))


def audit_day(store: KlineStore, date: str, samples: int, seed: int, matrices: Path | None) -> Audit:
    """Recompute ``samples`` scans of a day (empty: the last), warmed up by the day before; ``seed`` draws them.

    ``matrices``: also write each sampled 50-bar correlation matrix there, exactly. Raises ``MissingDependency`` without python-flint.
    """
    dates = store.dates()
    date = date or dates[-1]
    if date not in dates:
        raise QualityError(f"there is no {date}", path=store.folder, hint=f"days are {dates[0]} to {dates[-1]}")
    at, symbols = dates.index(date), store.symbols()
    days = list(store.days(dates[max(0, at - 1) : at + 1], symbols))
    closes, ts = np.concatenate([day.closes for day in days]), np.concatenate([day.ts for day in days])
    bars = ts // (store.bar_seconds * 1000)
    batch = scan_batch(closes, bars=bars)
    of_day = np.where((ts >= days[-1].ts[0])[:, None], batch.lambda_max, np.nan)
    if not np.isfinite(of_day).any():
        raise QualityError("no bar of the day has an eigenvalue", path=store.path(date))
    rows = audit(closes, bars, samples, seed, scanned=replace(batch, lambda_max=of_day))
    files = [] if matrices is None else [_write(matrices, symbols, closes, bars, row, ts) for row in sorted({row.row for row in rows})]
    return Audit(date, rows, files)


def _write(folder: Path, symbols: tuple[str, ...], closes: Array, bars: Ints, row: int, ts: Ints) -> str:
    import flint

    cut = slice(row - WINDOWS[0], row + 1)
    with flint.ctx.workprec(PRECISION):
        matrix, columns = correlation_balls(closes[cut], bars[cut])
    step = int(ts[1] - ts[0])
    moment = int(ts[row])
    path = matrix_path(folder, date_of(moment), moment % DAY_MS // step, moment + step)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_matrix(path, from_flint(tuple(symbols[j] for j in columns.tolist()), matrix))
    return str(path)
