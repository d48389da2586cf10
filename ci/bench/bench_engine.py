"""The engine's loop against vectorbt's ``from_signals`` (its rust engine), on the same bars of 48 columns.

Not equal work, and the table must not say so: ours ranks assets, sizes and keeps two ledgers for one position at a time; vectorbt
simulates 48 independent columns that enter and leave on our bars. vectorbt gets DataFrames, as its users hand them over, and in the
second row the leanest arrays it takes. Ours includes making the engine and the trade records; vectorbt's trade records are not timed.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import vectorbt as vbt
from market import DAMPED, scanned_days
from table import Row, best_of, emit, row

from dolphin import NDAlphaEngine, load_profile
from dolphin.engine.records import DayRows


def run(days: list[tuple[str, DayRows]]) -> NDAlphaEngine:
    engine = NDAlphaEngine(load_profile("champion"))
    for date, rows in days:
        engine.process_rows(date, rows)
    return engine


def frame_of(rows: DayRows) -> pd.DataFrame:
    head = {"timestamp": rows.ts_ms, "vel_div": rows.vel_div, "v50_lambda_max_velocity": rows.v50, "v750_lambda_max_velocity": rows.v750}
    return pd.concat([pd.DataFrame(head), pd.DataFrame(rows.closes, columns=list(rows.assets))], axis=1)


def against_vectorbt() -> list[Row]:
    date, rows = scanned_days(1, 5, DAMPED)[0]
    trades = run([(date, rows)]).trades
    entries = np.zeros(rows.closes.shape, dtype=bool)
    exits = entries.copy()
    entries[[t["entry_bar"] for t in trades]] = True
    exits[[t["exit_bar"] for t in trades]] = True
    index = pd.to_datetime(rows.ts_ms, unit="ms")
    closes, enter, leave = (pd.DataFrame(a, index=index, columns=list(rows.assets)) for a in (rows.closes, entries, exits))
    closes = closes.ffill().bfill()
    simulate = partial(vbt.Portfolio.from_signals, direction="shortonly", tp_stop=0.0095, fees=0.0005, engine="rust")

    ours = best_of(lambda: run([(date, rows)]), 20)
    framed = best_of(lambda: simulate(closes, enter, leave), 5)
    lean = best_of(partial(simulate, closes.to_numpy(), entries, exits), 5)
    frame = frame_of(rows)
    from_frame = best_of(lambda: NDAlphaEngine(load_profile("champion")).process_day(date, frame, rows.assets), 10)
    work = f"engine day, {len(rows.closes):,} bars x {len(rows.assets)}, {len(trades)} trades"
    return [
        row(work, ours, framed, 40.0, 150.0, "vectorbt from_signals, rust, DataFrames"),
        row(work, ours, lean, None, None, "the same from C-ordered numpy arrays"),
        row("the same day given as a DataFrame", from_frame, framed, None, None, "process_day"),
    ]


def growth() -> list[Row]:
    days = scanned_days(8, 60)
    date, rows = scanned_days(1, 5)[0]
    twice = DayRows(
        rows.assets,
        np.concatenate([rows.closes, rows.closes]),
        *(np.concatenate([x, x]) for x in (rows.vel_div, rows.v50, rows.v750, rows.ts_ms)),
    )
    one, two = best_of(lambda: run(days[:4]), 20), best_of(lambda: run(days), 20)
    short, long = best_of(lambda: run([(date, rows)]), 20), best_of(lambda: run([(date, twice)]), 20)
    return [
        row("engine, days x2", two, 2 * one, 1.25, 1.25, "8 days against twice 4"),
        row("engine, bars x2", long, 2 * short, 1.25, 1.25, "34,560 bars against twice 17,280"),
    ]


def main() -> list[Row]:
    return [*against_vectorbt(), *growth()]


if __name__ == "__main__":
    emit(main())
