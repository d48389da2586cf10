"""Klines as a Nautilus ``ParquetDataCatalog``: ``python -m actors.catalog KLINES CATALOG``. Perpetuals and their bars, by name."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from nautilus_trader.model.data import Bar, BarSpecification, BarType
from nautilus_trader.model.enums import BarAggregation, PriceType
from nautilus_trader.persistence.catalog import ParquetDataCatalog

from actors.instruments import perpetuals
from dolphin.storage.klines import KlineStore

__all__ = ["write_catalog"]

MS = 1_000_000


def write_catalog(klines: Path, catalog: Path, venue: str = "BINANCE") -> int:
    """Write every day of ``klines`` as bars that end at their close time; returns how many. A bar without a price is left out;
    volumes are set deep, so that orders are filled whole."""
    store, target = KlineStore(klines), ParquetDataCatalog(str(catalog))
    days = [store.load_ohlc(date) for date in store.dates()]
    first: dict[str, float] = {}
    for day in days:
        for j, name in enumerate(day.symbols):
            prices = day.closes[:, j][np.isfinite(day.closes[:, j])]
            if name not in first and len(prices):
                first[name] = float(prices[0])
    instruments = perpetuals(first, venue)
    target.write_data(list(instruments.values()))
    step = store.bar_seconds
    size, unit = (step // 60, BarAggregation.MINUTE) if step % 60 == 0 else (step, BarAggregation.SECOND)
    count = 0
    for name, instrument in instruments.items():
        kind = BarType(instrument.id, BarSpecification(size, unit, PriceType.LAST))
        bars: list[Bar] = []
        for day in days:
            if name in day.symbols:
                j = day.symbols.index(name)
                keep = np.isfinite(day.closes[:, j])
                values = [np.ascontiguousarray(block[keep, j]) for block in (day.opens, day.highs, day.lows, day.closes)]
                stamps = ((day.ts[keep] + 1000 * step) * MS).astype(np.uint64)
                digits = instrument.price_precision, instrument.size_precision
                bars += Bar.from_raw_arrays_to_list(kind, *digits, *values, np.full(len(stamps), 1e6), stamps, stamps.copy())
        target.write_data(bars)
        count += len(bars)
    return count


if __name__ == "__main__":
    print(f"{write_catalog(Path(sys.argv[1]), Path(sys.argv[2]))} bars")
