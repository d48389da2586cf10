"""The verb `dolphin demo-exchange`: an exchange of one's own on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.console import Outcome, verb

__all__ = ["add_exchange_verb"]


def demo_exchange(
    klines: Annotated[Path | None, typer.Option(help="Folder of klines to play.")] = None,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Play the synthetic market (the default without --klines).")] = False,
    symbols: Annotated[int, typer.Option(min=0, max=400, help="So many symbols; default: 48 synthetic ones, or all of the folder.")] = 0,
    reserve: Annotated[int, typer.Option(min=0, max=100, help="More symbols that a `list` fault can bring in later.")] = 0,
    bar_seconds: Annotated[int, typer.Option(min=1, max=3600, help="Bars of the synthetic market.")] = 60,
    date: Annotated[str, typer.Option(metavar="YYYY-MM-DD[THH:MM]", help="UTC start, or now; default: the first day with history.")] = "",
    days: Annotated[int, typer.Option(min=1, max=400, help="Days that are played; then the market ends.")] = 2,
    speed: Annotated[float, typer.Option(help="Market seconds in one of ours.")] = 1.0,
    clock: Annotated[
        Path | None, typer.Option(help="Market clock of a state folder: the market goes on where an exchange that died had it.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on 127.0.0.1; 0: a free one.")] = 0,
    book_ms: Annotated[int, typer.Option("--book-ms", "--books", min=1, help="Between two books of a symbol, ms of the market.")] = 500,
    weight: Annotated[int, typer.Option(min=1, help="Request weight a minute.")] = 2_400,
    seed: Annotated[int, typer.Option(min=0, help="Of market, trades, books and faults.")] = 7,
    balance: Annotated[float, typer.Option(min=0, help="USDT of the account.")] = 10_000.0,
    faults: Annotated[Path | None, typer.Option(help="JSON list of faults with their times.")] = None,
    record: Annotated[Path | None, typer.Option(help="Parquet file for every trade that came due.")] = None,
) -> Outcome:
    """Run an exchange on 127.0.0.1 until Ctrl-C: Binance's USDT-M protocol over klines or the synthetic market, faults on request."""
    if klines is not None and synthetic:
        raise typer.BadParameter("--klines and --synthetic exclude each other")
    given = {
        "--klines": klines, "--symbols": symbols, "--reserve": reserve, "--bar-seconds": bar_seconds, "--date": date or None,
        "--days": days, "--speed": speed, "--port": port, "--book-ms": book_ms, "--weight": weight, "--seed": seed, "--faults": faults,
        "--record": record, "--clock": clock, "--balance": balance,
    }  # fmt: skip
    options = [text for name, value in given.items() if value is not None for text in (name, str(value))]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "daemons.demo_exchange", *options, *(["--json"] if "--json" in sys.argv else [])])


def add_exchange_verb(app: typer.Typer) -> None:
    """`dolphin demo-exchange`."""
    verb(app, "demo-exchange")(demo_exchange)
