"""The demo exchange as a process: ``python -m daemons.demo_exchange``; tells its address, then runs until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import signal
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from daemons.clock import RealClock
from daemons.exchange.faults import read_faults
from daemons.exchange.server import DemoExchange, ExchangeOptions
from daemons.exchange.signing import DEMO_KEY, DEMO_SECRET, Credentials
from daemons.exchange.sources import kline_bars, synthetic_bars
from daemons.exchange.tape import Bars
from dolphin.errors import ConfigError, DolphinError
from dolphin.storage.market_clock import MarketClock, read_market_clock
from dolphin.storage.replay import Replay
from dolphin.storage.schema import date_of, day_start, is_date
from dolphin.synthetic.market import SyntheticMarket

__all__ = ["main"]

KEY_VARIABLE: Final = "DOLPHIN_DEMO_KEY"
SECRET_VARIABLE: Final = "DOLPHIN_DEMO_SECRET"
_CLOCK: Final = re.compile(r"(([01]\d|2[0-3]):[0-5]\d)?")


def main(arguments: list[str] | None = None) -> None:
    """``arguments``: default: the command line's. Exit codes of ``dolphin.errors``."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(_serve(_parser().parse_args(arguments)))
    except DolphinError as error:
        print(f"demo exchange: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m daemons.demo_exchange", description=__doc__)
    parser.add_argument("--klines", type=Path, help="folder of klines to play; default: the synthetic market")
    parser.add_argument("--symbols", type=int, default=0, help="so many symbols; default: 48 synthetic ones, or all of the folder")
    parser.add_argument("--reserve", type=int, default=0, help="more symbols that a `list` fault can bring in later")
    parser.add_argument("--bar-seconds", type=int, default=60, help="bars of the synthetic market")
    parser.add_argument(
        "--date",
        default="",
        help="UTC day to start on, with a time (2025-01-02T13:00) or without, or now; default: the first with history before it",
    )
    parser.add_argument("--days", type=int, default=2, help="days that are played; then the market ends")
    parser.add_argument("--speed", type=float, default=1.0, help="market seconds in one of ours")
    parser.add_argument("--clock", type=Path, help="market clock of a state folder: the market goes on where an exchange that died had it")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--book-ms", type=int, default=500, help="between two books of a symbol, ms of the market")
    parser.add_argument("--weight", type=int, default=2_400, help="request weight a minute")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--balance", type=Decimal, default=Decimal(10_000), help="USDT of the account")
    parser.add_argument("--faults", type=Path, help="JSON list of faults with their times")
    parser.add_argument("--json", action="store_true", help="tell address and clock as one JSON object")
    parser.add_argument("--record", type=Path, help="parquet file for every trade that came due")
    return parser


async def _serve(asked: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    bars, start = _market(asked)
    options = ExchangeOptions(
        seed=asked.seed, listed=len(bars.instruments) - asked.reserve, book_ms=asked.book_ms, weight=asked.weight,
        balance=asked.balance, record=asked.record,
    )  # fmt: skip
    key = Credentials(os.environ.get(KEY_VARIABLE, DEMO_KEY), os.environ.get(SECRET_VARIABLE, DEMO_SECRET))
    faults = read_faults(asked.faults) if asked.faults else []
    clock = RealClock()
    first = date_of(clock.wall_ms() if start < 0 else start)
    last = date_of(int(bars.ts[-1]))
    begun = MarketClock(start_ms=clock.wall_ms() if start < 0 else start, started_monotonic=clock.monotonic(), speed=asked.speed)
    if asked.clock:
        begun = _kept_clock(asked.clock, begun)
    replay = Replay(folder=str(asked.klines or ""), first_date=first, last_date=last, **msgspec.structs.asdict(begun))
    exchange = DemoExchange(bars, RealClock(replay), options, faults, key)
    try:
        address = await exchange.start(asked.host, asked.port)
        print(_greeting(address, exchange, asked.json), flush=True)
        waiting = [asyncio.create_task(stop.wait()), asyncio.create_task(exchange.ended())]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        for task in done:
            task.result()
    finally:
        await exchange.stop()


def _kept_clock(path: Path, begun: MarketClock) -> MarketClock:
    """Raises ``ConfigError`` when there is none, or when it is of another boot or day than ``begun``."""
    kept = read_market_clock(path)
    if kept is None:
        raise ConfigError(f"--clock {path}: no market clock there; `dolphin up` writes clock.json into its state folder")
    if kept.start_ms != begun.start_ms or kept.started_monotonic > begun.started_monotonic:
        raise ConfigError(f"--clock {path}: is of another market (--date {date_of(kept.start_ms)}), or of before this machine's start")
    return kept


def _greeting(address: str, exchange: DemoExchange, as_json: bool) -> str:
    told = exchange.told_clock()
    if as_json:
        return msgspec.json.encode({"schema": "dolphin.demo-exchange/1", "url": address, **told}).decode()
    begin, end = (datetime.fromtimestamp(told[name] / 1000, UTC).strftime("%Y-%m-%d %H:%M") for name in ("start_ms", "end_ms"))
    many = sum(exchange.venue.status(n) == "TRADING" for n in range(len(exchange.venue.instruments)))
    return (
        f"demo exchange at {address}: {many} perpetuals from {begin} to {end} UTC at {told['speed']:g} times our speed\n"
        f"use it: dolphin up --set feed.exchange=binanceusdm --set feed.url={address}; end it: Ctrl-C"
    )


def _market(asked: argparse.Namespace) -> tuple[Bars, int]:
    """The bars and the market time of the start; -1: now. Raises ``ConfigError`` for options that do not fit together."""
    if not 0 < asked.speed <= 100_000 or not 1 <= asked.days <= 400 or asked.book_ms < 1 or asked.reserve < 0:
        raise ConfigError("speed must be in (0, 100000], days in [1, 400], book-ms at least 1, reserve at least 0")
    now, (date, _, clock) = asked.date == "now", asked.date.partition("T")
    date = datetime.now(UTC).date().isoformat() if now else date
    if (date and not is_date(date)) or not _CLOCK.fullmatch(clock):
        raise ConfigError(f"date = {asked.date!r} is not YYYY-MM-DD, YYYY-MM-DDTHH:MM or now")
    after = 60_000 * (60 * int(clock[:2]) + int(clock[3:])) if clock else 0
    if asked.klines is not None:
        bars, date = kline_bars(asked.klines, asked.symbols + asked.reserve * bool(asked.symbols), date, asked.days)
        return bars, -1 if now else day_start(date) + after
    date = date or "2025-01-02"
    before = (datetime.fromisoformat(date) - timedelta(days=1)).date().isoformat()
    many = (asked.symbols or 48) + asked.reserve
    market = SyntheticMarket(assets=many, days=1 + asked.days, bar_seconds=asked.bar_seconds, seed=asked.seed, start=before)
    return synthetic_bars(market), -1 if now else day_start(date) + after


if __name__ == "__main__":
    main()
