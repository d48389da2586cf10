"""A folder of outside series for the circuit breaker: which files it may hold, and the indicator scans that were archived in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from dolphin.errors import QualityError
from dolphin.storage.indicators import MacroSeries, first_indicators, read_series
from dolphin.types import Array

__all__ = ["KNOWN_FILES", "archived_indicators", "macro_files", "macro_sources"]

KNOWN_FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "funding_btc": ("funding_btc.csv", "funding_btc.parquet", "funding.parquet", "funding/binance_perp_8h_funding.parquet"),
    "dvol_btc": ("dvol_btc.csv", "dvol_btc.parquet", "macro_daily/btc_derivatives_daily.parquet"),
    "fng": ("fng.csv", "fng.parquet", "macro_daily/fear_greed_index.parquet"),
    "taker": ("taker.csv", "taker.parquet", "macro_daily/binance_spot_1d_taker.parquet"),
}
"""Files of a ``--macro`` folder by factor, the first that is there is read."""


def macro_files(folder: Path) -> dict[str, Path]:
    """File of each factor that ``folder`` holds."""
    found = {factor: next((folder / name for name in names if (folder / name).is_file()), None) for factor, names in KNOWN_FILES.items()}
    return {factor: path for factor, path in found.items() if path is not None}


def macro_sources(folder: Path) -> list[MacroSeries]:
    """The factors' series that lie in ``folder``. Raises ``QualityError`` when there is neither one nor an eigenvalue archive."""
    found = [read_series(path, factor) for factor, path in macro_files(folder).items()]
    if not found and not (folder / "eigenvalues").is_dir():
        known = ", ".join(name for names in KNOWN_FILES.values() for name in names)
        raise QualityError("no series of the circuit breaker", path=folder, hint=f"known names: {known}")
    return found


def archived_indicators(folder: Path, dates: Sequence[str]) -> dict[str, Array]:
    """First 10 indicator scans, float64[<= 10, 4], of the days of which ``folder/eigenvalues`` holds any."""
    return {date: rows for date in dates if len(rows := first_indicators(folder, date))}
