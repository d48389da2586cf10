"""Trials of the forewarner: the engine over 30 resampled days each, as `dolphin forewarner train` runs them, on one process and on two.

The days are the 30 real ones of April 2021 (64 assets, a bar a minute) when the shared data is there, else synthetic ones of 48 assets.
Starting the second process is part of the figure.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from table import Row, emit, row

from dolphin.config import Settings, SyntheticConfig
from dolphin.storage.klines import KlineStore
from flows.console import progress
from flows.forewarner import Training, plan_trials, train
from flows.scans import cached_scan
from flows.synth import cached_market

TRIALS = 1024
CHECKOUT = Path(__file__).resolve().parents[2]
REAL = Path(os.environ.get("DOLPHIN_SHARED_DATA", CHECKOUT.parent / "shared" / "data")) / "klines" / "spot_1m_2021-04"


def main() -> list[Row]:
    settings = Settings(synthetic=SyntheticConfig(days=30))
    klines = REAL if REAL.is_dir() else cached_market(settings, progress)
    folder, _ = cached_scan(KlineStore(klines), settings, "", "", track=progress)
    files = tuple(sorted(folder.glob("*.parquet")))
    plan = plan_trials(files, settings.engine, seed=7, path_days=30, block_days=5.0)
    seconds = {}
    with tempfile.TemporaryDirectory() as out:
        train(Training(files, plan, 64, 1), Path(out) / "warm.parquet", progress)
        for jobs in (1, 2):
            began = time.perf_counter()
            train(Training(files, plan, TRIALS, jobs), Path(out) / f"{jobs}" / "trials.parquet", progress)
            seconds[jobs] = (time.perf_counter() - began) / TRIALS
    what = f"{len(files)} {'real' if REAL.is_dir() else 'synthetic'} days"
    note = f"{1 / seconds[2]:.0f} trials a second; {1 / seconds[1]:.0f} on one process; {what}"
    return [row("forewarner trial of 30 days, 2 processes", seconds[2], None, 1 / 20, 1 / 200, note)]


if __name__ == "__main__":
    emit(main())
