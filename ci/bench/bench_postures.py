"""Postures computed from a run: what a day costs that is watched, without an order book and with one.

Watching is one evaluation a minute, equity at every bar, and a checkpoint from which the day is run again when its postures change the
run. The plain day is the engine alone. Books are read from a provider that has answered the same day before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from market import DAMPED, scanned_days
from table import Row, best_of, emit, row

from dolphin import NDAlphaEngine, load_profile
from dolphin.book.provider import TableOrderBook
from dolphin.config import SurvivalConfig
from dolphin.engine.watch import RunWatch, WatchedDay
from dolphin.synthetic.book import SyntheticBook
from dolphin.synthetic.market import SyntheticMarket

BAR_SECONDS, ASSETS, TIMES = 5, 48, 40


def main() -> list[Row]:
    date, opens = scanned_days(1, BAR_SECONDS, DAMPED, ASSETS)[0]
    rows = replace(opens, ts_ms=opens.ts_ms + 1000 * BAR_SECONDS)
    books = list(SyntheticBook(SyntheticMarket(ASSETS, 1, BAR_SECONDS), snapshot_ms=1000 * BAR_SECONDS))
    ob = TableOrderBook(books)

    def plain(posture: str = "APEX") -> object:
        return NDAlphaEngine(load_profile("champion")).process_rows(date, rows, posture=posture)

    def watched(book: TableOrderBook | None) -> WatchedDay:
        engine = NDAlphaEngine(load_profile("champion"))
        engine.set_ob_engine(book)
        return RunWatch(SurvivalConfig(), book).run_day(engine, date, rows)

    def cost(what: str, book: TableOrderBook | None, peer: Callable[[], object]) -> Row:
        day = watched(book)
        note = f"{len(day.changes)} changes of posture, passes: {day.passes}, trades: {len(day.result['trades'])}"
        return row(what, best_of(lambda: watched(book), TIMES), best_of(peer, TIMES), 3.0, 1.5, note)

    work = f"day, {len(rows.closes):,} bars x {len(rows.assets)}"
    return [
        cost(f"watched {work}", None, lambda: plain("STALKER")),
        cost(f"watched {work}, with a book", ob, plain),
    ]


if __name__ == "__main__":
    emit(main())
