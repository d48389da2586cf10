"""The scanner against numpy's corrcoef + eigvalsh over the same successive windows, in one process, BLAS on one thread.

The anchor is lean: returns and windows are prepared, nothing but one corrcoef and one eigvalsh a window is timed; it runs on a slice of the
bars. Up to 64 assets the market is real klines where they are (``DOLPHIN_SHARED_DATA``), else and above that the one-factor market.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from table import Row, emit, row

from dolphin.scanner.scan import Scanner
from dolphin.storage.klines import KlineStore
from dolphin.types import WINDOWS

WARM = 768
BARS = 2048
GOALS = {48: (50.0, 130.0, 60), 100: (60.0, 120.0, 20), 400: (110.0, 250.0, 5)}
"""Floor, aim, and bars that the anchor is timed on, by number of assets."""


def market(assets: int):
    """Closes float64[WARM + BARS, assets] without a missing price, and where they come from."""
    folder = Path(os.environ.get("DOLPHIN_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "klines/spot_1m_2021-04"
    if assets <= 64 and folder.is_dir():
        store = KlineStore(folder)
        closes = np.concatenate([day.closes for day in store.days(store.dates()[:3], store.symbols())])[: WARM + BARS]
        return np.ascontiguousarray(closes[:, np.isfinite(closes).all(axis=0)][:, :assets]), "real klines"
    rng = np.random.default_rng(assets)
    swell = np.exp(0.4 * np.sin(np.arange(WARM + BARS) / 90.0))[:, None]
    common, own = rng.standard_t(4, (WARM + BARS, 1)), rng.standard_t(4, (WARM + BARS, assets))
    return np.exp(np.cumsum(1e-3 * swell * (0.7 * (0.7 + 0.6 * rng.random(assets)) * common + 0.7 * own), axis=0)), "one-factor market"


def ours(closes, threads: int = 1, k: int = 20) -> float:
    """Best seconds a bar over ``BARS`` bars, four windows, warm."""
    best = float("inf")
    for _ in range(k if closes.shape[1] < 200 else 7):
        scanner = Scanner(closes.shape[1], path="stream" if closes.shape[1] <= 64 else "blocked")
        scanner.scan(closes[:WARM])
        start = time.perf_counter()
        scanner.scan(closes[WARM:], threads=threads)
        best = min(best, (time.perf_counter() - start) / BARS)
    return best


def anchor(closes, bars: int, k: int = 5) -> float:
    """Best seconds a bar of corrcoef + eigvalsh over the four windows of ``bars`` successive bars."""
    returns = np.diff(np.log(closes), axis=0)
    best = float("inf")
    for attempt in range(k):
        first = WARM + 300 * attempt
        start = time.perf_counter()
        for t in range(first, first + bars):
            for window in WINDOWS:
                np.linalg.eigvalsh(np.corrcoef(returns[t - window : t], rowvar=False))
        best = min(best, (time.perf_counter() - start) / bars)
    return best


def push(closes, n: int = 200) -> tuple[float, float]:
    """Median and worst seconds of one pushed row (the worst is an anchor, where everything is built afresh)."""
    scanner = Scanner(closes.shape[1])
    scanner.scan(closes[: WARM + 100])
    taken = []
    for r in closes[WARM + 100 : WARM + 100 + n]:
        start = time.perf_counter()
        scanner.push(r)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)), max(taken)


def main() -> list[Row]:
    """All rows."""
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        raise SystemExit("BLAS is not on one thread: start this bench by bash ci/bench/run scan, or set OPENBLAS_NUM_THREADS=1")
    rows, single = [], {}
    for assets, (floor, aim, bars) in GOALS.items():
        closes, source = market(assets)
        single[assets] = ours(closes)
        rows.append(row(f"scan a bar, 4 windows, N = {assets}", single[assets], anchor(closes, bars), floor, aim, f"numpy, {source}"))
        if assets == 400:
            pair = ours(closes, threads=2)
            rows.append(row(f"scan a bar, N = {assets}, 2 threads", pair, single[assets], 1.6, 1.9, "1 thread"))
            median, worst = push(closes)
            rows.append(row("live push of one bar, N = 400", median, None, 0.002, 0.001, f"median; at an anchor {worst * 1e3:.1f} ms"))
        elif assets == 48:
            rows.append(row(f"scan a bar, N = {assets}, 2 threads", ours(closes, threads=2), single[assets], 1.6, 1.9, "1 thread"))
    rows.append(row("scan growth, N = 400 / N = 100", single[400], single[100], 10.0, 6.0, "cost of a bar"))
    return rows


if __name__ == "__main__":
    emit(main())
