"""Funding rates: parquet ``ts`` (int64 ms), ``symbol``, ``funding_rate`` (fraction; 0.0001 = 1 bp; positive: longs pay)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dolphin.errors import QualityError, SchemaError
from dolphin.storage.parquet import Parquet
from dolphin.storage.schema import date_of
from dolphin.types import Array, Ints

__all__ = ["MAX_RATE", "Funding", "read_funding"]

MAX_RATE = 0.05
"""Exchanges cap a funding payment at 2 to 4 %: anything beyond 5 % is percent written for a fraction."""


class Funding(NamedTuple):
    """Funding times ``ts`` int64[F] ms, ascending, and ``rates`` float64[F, N] as fractions; NaN = no rate then."""

    ts: Ints
    rates: Array


def read_funding(path: Path | str, symbols: Sequence[str]) -> Funding:
    """Rates of ``symbols`` (columns in this order; one that the file lacks is all NaN).

    Raises ``MalformedFile`` or ``SchemaError`` (file), ``QualityError`` naming the row (NaN, a rate beyond 5 %, a repeated row, a
    time that is not ms).
    """
    path = Path(path)
    with Parquet(path) as file:
        file.require(("ts", "symbol", "funding_rate"), {"ts": "int64", "symbol": "string", "funding_rate": "float"})
        table = file.read(("ts", "symbol", "funding_rate"))
        ts, (code, names) = file.numbers(table, "ts"), file.texts(table, "symbol")
        rate = file.numbers(table, "funding_rate").astype(np.float64)
    if len(set(symbols)) < len(symbols):
        raise SchemaError("a symbol was asked for twice", path=path, column="symbol")
    place = {name: i for i, name in enumerate(symbols)}
    column = np.array([place.get(name, -1) for name in names], dtype=np.int64)[code]
    rows = np.flatnonzero(column >= 0)
    _check(path, ts, rate, rows)
    times, at = np.unique(ts[rows], return_inverse=True)
    rates = np.full((len(times), len(symbols)), np.nan)
    rates[at, column[rows]] = rate[rows]
    cell = at * len(symbols) + column[rows]
    order = np.argsort(cell, kind="stable")
    again = order[1:][np.diff(cell[order]) == 0]
    if len(again):
        row = int(rows[again.min()])
        raise QualityError(f"{names[code[row]]} has two rates for {date_of(int(ts[row]))}", path=path, column="ts", row=row)
    return Funding(times, rates)


def _check(path: Path, ts: Ints, rate: Array, rows: Ints) -> None:
    odd = (ts[rows] < 10**11) | (ts[rows] >= 10**14)
    if odd.any():
        row = int(rows[np.argmax(odd)])
        raise QualityError(f"{int(ts[row])} is no time in ms", path=path, column="ts", row=row)
    bad = ~(np.abs(rate[rows]) <= MAX_RATE)
    if bad.any():
        row = int(rows[np.argmax(bad)])
        hint = "a fraction is wanted: divide percent by 100" if np.isfinite(rate[row]) else "drop the row"
        raise QualityError(f"{rate[row]} is no funding rate", path=path, column="funding_rate", row=row, hint=hint)
