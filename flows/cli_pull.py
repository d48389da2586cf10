"""The verb `dolphin data pull`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dolphin.errors import ConfigError
from flows.cli_options import ConfigOption, loaded_config
from flows.console import Outcome, progress, verb

__all__ = ["add_pull_verb"]


def add_pull_verb(app: typer.Typer) -> None:
    """Register ``pull`` on ``dolphin data``."""
    verb(app, "pull")(pull)


def pull(
    first: Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", help="First UTC day.")],
    last: Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="Last UTC day; default: the newest that is over.")] = "",
    exchange: Annotated[str, typer.Option(help="Exchange, as CCXT names it.")] = "binanceusdm",
    symbols: Annotated[str, typer.Option(help="Symbols with commas between (BTCUSDT,ETHUSDT); default: all that are traded now.")] = "",
    top: Annotated[int, typer.Option(min=0, help="Only the N with the largest turnover of the last 24 hours.")] = 0,
    timeframe: Annotated[str, typer.Option(help="Bar interval: 1m, 5m, 1h ...")] = "1m",
    out: Annotated[Path | None, typer.Option(help="Folder for the klines; default: the configured one.")] = None,
    funding: Annotated[bool, typer.Option("--funding/--no-funding", help="Funding payments too, into funding.parquet.")] = True,
    verify: Annotated[
        bool, typer.Option("--verify", help="Fetch days that are there again and compare; files stay, a candle that changed exits 1.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 when anything is missing or odd.")] = False,
    url: Annotated[str, typer.Option(help="A demo exchange on this machine in the exchange's stead: http://127.0.0.1:PORT.")] = "",
    patience: Annotated[float, typer.Option(min=0, max=86_400, help="Seconds for which a request without an answer is repeated.")] = 120.0,
    config: ConfigOption = None,
) -> Outcome:
    """Download klines and funding by CCXT into day files. Start it again after any interruption: it goes on where it stopped.

    CCXT sends Binance 1200 of the 2400 request weights a minute that it allows: at most 200 symbol-days of minutes a minute, so a month of
    50 symbols takes 8 minutes. Symbols chosen by today's turnover are today's survivors; name delisted ones by --symbols.
    """
    loaded = loaded_config(config)
    if symbols and top:
        raise ConfigError("--symbols and --top: give one of them")
    from flows import pull as download

    folder = out if out is not None else Path(loaded.settings.paths.klines)
    names = tuple(name.strip() for name in symbols.split(",") if name.strip())
    plan = download.PullPlan(exchange, folder, first, last, names, top, timeframe, url, funding, verify, patience)
    report = download.pull(plan, progress)
    code = int(bool(report.changed) or (strict and report.found))
    return Outcome("dolphin.data-pull/1", report.to_dict(), report.to_text(), code)
