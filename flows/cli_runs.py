"""Verbs that run the engine or look at runs: backtest, report, compare, explain, lookahead-check."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dolphin.errors import ConfigError
from flows.cli_options import ConfigOption, SetOption, loaded_config
from flows.console import Outcome, progress, verb

if TYPE_CHECKING:
    from dolphin.config import LoadedConfig

__all__ = ["add_run_verbs", "check_range", "day_folder"]

KlinesOption = Annotated[Path | None, typer.Option("--klines", help="Folder of klines, one parquet a UTC day; scanned first (cached).")]
DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of day tables (`dolphin data scan`).")]
FromOption = Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", help="First UTC day.")]
ToOption = Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="Last UTC day.")]
RunArgument = Annotated[Path, typer.Argument(help="Run folder; `runs/latest` is the newest.")]


class Engine(StrEnum):
    """Engines that a backtest can run on."""

    ND = "nd"
    NAUTILUS = "nautilus"


class Stack(StrEnum):
    """Layers around the engine."""

    ENGINE = "engine"
    FULL = "full"


class Lane(StrEnum):
    """Direction of the lane."""

    SHORT = "short"
    LONG = "long"


def add_run_verbs(app: typer.Typer) -> None:
    """Register the verbs on ``app``."""
    verb(app, "backtest")(backtest)
    verb(app, "report")(report)
    verb(app, "compare")(compare)
    verb(app, "explain")(explain)
    verb(app, "lookahead-check")(lookahead_check)
    verb(app, "parity-check")(parity_check)


def backtest(
    klines: KlinesOption = None,
    data: DataOption = None,
    first: FromOption = "",
    last: ToOption = "",
    direction: Annotated[Lane, typer.Option(help="SHORT or LONG lane.")] = Lane.SHORT,
    engine: Annotated[Engine, typer.Option(help="nd: the engine alone; nautilus: its decisions as orders, too.")] = Engine.ND,
    stack: Annotated[Stack, typer.Option(help="full: order book, circuit breaker, forewarner, postures.")] = Stack.ENGINE,
    book: Annotated[Path | None, typer.Option(help="Full stack: folder of recorded book features, one parquet a day.")] = None,
    macro: Annotated[Path | None, typer.Option(help="Full stack: folder with funding, DVOL, fear and greed, taker ratio.")] = None,
    posture_file: Annotated[Path | None, typer.Option(help="Full stack: JSON of postures; without it they follow from the run.")] = None,
    forewarner: Annotated[Path | None, typer.Option(help="Full stack: table of trials (`dolphin forewarner train`).")] = None,
    ablate: Annotated[bool, typer.Option("--ablate", help="Run the engine alone and with each layer added; table and page.")] = False,
    funding: Annotated[Path | None, typer.Option(help="Funding rates (parquet: ts, symbol, funding_rate) for the honest ledger.")] = None,
    profile: Annotated[str | None, typer.Option(help="Named engine profile.")] = None,
    changes: SetOption = None,
    config: ConfigOption = None,
) -> Outcome:
    """Backtest klines, day tables, or (without either) the embedded synthetic market, and write a report."""
    started = time.perf_counter()
    loaded = loaded_config(config, changes, profile)
    check_range(first, last)
    from flows.backtest import Plan, day_files, run_backtest

    # layers know the days before the run: the breaker's threshold must not depend on where a run begins
    folder, quality = day_folder(loaded, klines, data, first if stack is Stack.ENGINE else "", last)
    files = day_files(folder, first, last)
    plan = Plan(
        folder=folder,
        loaded=loaded,
        first=first,
        last=last,
        direction=-1 if direction is Lane.SHORT else 1,
        funding=_funding(funding, files),
        quality=quality,
        synthetic=klines is None and data is None,
        venue=engine is Engine.NAUTILUS,
        layers=_layers(loaded, direction, stack, (book, macro, posture_file, forewarner), klines is None and data is None),
    )
    if ablate:
        from flows.ablate import ablate as run_ablation

        result, page = run_ablation(plan, files, progress)
        return Outcome("dolphin.ablation/1", {"page": str(page), **result.to_dict()}, f"{result.to_text()}\npage: {page}")
    run_folder, run = run_backtest(plan, progress(files, len(files), "days"), started=started)
    from dolphin.report.markdown import headline

    page = run_folder / "report.html"
    facts = {"run": str(run_folder), "report": str(page), "engine": engine.value, "stack": stack.value, "summary": run.summary}
    parity = run.summary["detail"].get("venue", {}).get("parity", {"equal": True})
    return Outcome("dolphin.backtest/1", facts, f"{headline(run.summary)}\nreport: {page}", int(not parity["equal"]))


def report(run: RunArgument, md: Annotated[bool, typer.Option("--md", help="Print the report as Markdown.")] = False) -> Outcome:
    """Rebuild report.html of a run from its folder, or print the report as Markdown."""
    from dolphin.report.files import read_run, rebuild
    from dolphin.report.markdown import to_markdown
    from dolphin.storage.publish import publish

    found = read_run(run)
    if md:
        return Outcome("dolphin.report/1", {"summary": found.summary}, to_markdown(found.summary))
    page = rebuild(run, publish, found)
    return Outcome("dolphin.report/1", {"report": str(page), "summary": found.summary}, str(page))


def compare(run_a: RunArgument, run_b: RunArgument) -> Outcome:
    """Two runs side by side, figure by figure and trade by trade; exits 1 when their trades differ."""
    from dolphin.report.compare import compare as compare_runs
    from dolphin.report.compare import comparison_to_markdown
    from dolphin.report.files import read_run

    result = compare_runs(read_run(run_a), read_run(run_b))
    return Outcome("dolphin.compare/1", result, comparison_to_markdown(result), int(not result["identical_trades"]))


def explain(
    run: RunArgument,
    bar: Annotated[int | None, typer.Option("--bar", help="Bar of the run, from 0: why it did what it did.")] = None,
    trade: Annotated[int | None, typer.Option("--trade", help="Trade of the run: its entry, course and exit.")] = None,
    day: Annotated[str, typer.Option("--day", metavar="YYYY-MM-DD", help="Day of the run: counts by reason, near misses.")] = "",
) -> Outcome:
    """Replay a run up to a bar and show its decision path: every question of the loop, with its value and its limit."""
    if (bar is not None) + (trade is not None) + bool(day) != 1:
        raise ConfigError("give exactly one of --bar, --trade and --day")
    from dataclasses import asdict

    from dolphin.report.summary import plain
    from flows import explain as found
    from flows import explain_text as words

    source, schema = found.open_run(run), "dolphin.explain/1"
    if bar is not None:
        path = found.explain_bar(source, bar)
        return Outcome(schema, {"run": str(run), "bar": found.explanation_dict(path)}, words.bar_text(path))
    if trade is not None:
        story = found.explain_trade(source, trade)
        ends = {"entry": found.explanation_dict(story.entry), "exit": found.explanation_dict(story.exit)}
        return Outcome(schema, {"run": str(run), "trade": {**plain(asdict(story)), **ends}}, words.trade_text(story))
    of_day = found.explain_day(source, day)
    return Outcome(schema, {"run": str(run), "day": plain(asdict(of_day))}, words.day_text(of_day))


def lookahead_check(
    klines: KlinesOption = None,
    day: Annotated[str, typer.Option("--date", metavar="YYYY-MM-DD", help="Day to check; default: the second one.")] = "",
    every: Annotated[int, typer.Option(min=1, help="Check every n-th bar.")] = 1,
    changes: SetOption = None,
    config: ConfigOption = None,
) -> Outcome:
    """Cut a day off after each bar: no value before the cut may change, in klines, scans and trades. Exits 1 when one does."""
    loaded = loaded_config(config, changes)
    from dolphin.storage.klines import KlineStore
    from flows.lookahead import check_day

    store = KlineStore(klines if klines is not None else _synthetic_klines(loaded))
    verdict = check_day(store, day, loaded.settings, every=every, track=progress)
    return Outcome("dolphin.lookahead-check/1", verdict.to_dict(), verdict.to_text(), int(bool(verdict.leaks)))


def parity_check(
    klines: KlinesOption = None,
    first: FromOption = "",
    last: ToOption = "",
    direction: Annotated[Lane, typer.Option(help="SHORT or LONG lane.")] = Lane.SHORT,
    lane: Annotated[str, typer.Option("--lane", help="blue or green: check what this lane of a deployment did, from its journals.")] = "",
    date: Annotated[str, typer.Option("--date", metavar="YYYY-MM-DD", help="With --lane: the UTC day.")] = "",
    state: Annotated[Path | None, typer.Option("--state", help="With --lane: the deployment's state folder; default: paths.state.")] = None,
    changes: SetOption = None,
    config: ConfigOption = None,
) -> Outcome:
    """Day tables, bar by bar, live scanner and orders in NautilusTrader must give the same trades. Exits 1 when they do not.

    With --lane: a day of a running or stopped lane is decided again from its journals, by the engine and by a Nautilus backtest.
    """
    loaded = loaded_config(config, changes)
    if lane:
        if klines is not None or first or last:
            raise ConfigError("--lane reads the lane's journals: give --date and --state, not --klines, --from or --to")
        return _lane_parity(loaded, lane, date, state)
    if date or state is not None:
        raise ConfigError("--date and --state belong to --lane")
    check_range(first, last)
    from dolphin.storage.day_table import read_day
    from dolphin.storage.klines import KlineStore
    from flows.backtest import day_files
    from flows.parity import check_parity
    from flows.scans import cached_scan

    store = KlineStore(klines if klines is not None else _synthetic_klines(loaded))
    folder, _ = cached_scan(store, loaded.settings, first, last, track=progress)
    tables = [read_day(path) for path in day_files(folder, first, last)]
    verdict = check_parity(store, tables, loaded.settings, -1 if direction is Lane.SHORT else 1, progress)
    return Outcome("dolphin.parity-check/1", verdict.to_dict(), verdict.to_text(), int(not verdict.passed))


def _lane_parity(loaded: LoadedConfig, lane: str, date: str, state: Path | None) -> Outcome:
    from dolphin.storage.state import StateFolder
    from flows.lane_parity import SCHEMA, lane_parity, write_parity
    from flows.lane_parity_text import parity_text
    from flows.workspace import state_folder

    paths = loaded.settings.paths
    found = lane_parity(StateFolder(state if state is not None else state_folder(paths, "")), lane, date)
    file = write_parity(found, Path(paths.runs) / "parity")
    facts = {"file": str(file), **found.to_dict()}
    return Outcome(SCHEMA, facts, f"{parity_text(found)}\nreport: {file}", int(not found.passed))


def check_range(first: str, last: str) -> None:
    import datetime as dt

    for name, value in (("--from", first), ("--to", last)):
        try:
            if value and dt.date.fromisoformat(value).isoformat() != value:
                raise ValueError
        except ValueError as error:
            raise ConfigError(f"{name} {value!r}: expected YYYY-MM-DD") from error
    if first and last and first > last:
        raise ConfigError(f"--from {first} lies after --to {last}")


def day_folder(loaded: LoadedConfig, klines: Path | None, data: Path | None, first: str, last: str) -> tuple[Path, dict[str, Any]]:
    """Folder of day tables to run, scanning klines into the cache when needed, and quality counts by day."""
    if klines is not None and data is not None:
        raise ConfigError("--klines and --data: give one of them")
    if data is not None:
        return data, {}
    from dolphin.storage.klines import KlineStore
    from flows.scans import cached_scan

    store = KlineStore(klines if klines is not None else _synthetic_klines(loaded))
    return cached_scan(store, loaded.settings, first, last, track=progress)


def _synthetic_klines(loaded: LoadedConfig) -> Path:
    from flows.synth import cached_market

    return cached_market(loaded.settings, track=progress)


def _layers(loaded: LoadedConfig, direction: Lane, stack: Stack, given: tuple[Path | None, ...], synthetic: bool) -> Any:
    """Maker of the layers, from day tables and their files; the engine alone gets none."""
    book, macro, posture_file, forewarner = given
    if stack is Stack.ENGINE:
        if any(given):
            raise ConfigError("--book, --macro, --posture-file and --forewarner belong to --stack full")
        from flows.layers import Layers

        return lambda tables, paths: Layers()
    from flows.stack import Sources, full_stack

    side = -1 if direction is Lane.SHORT else 1
    sources = Sources(book=book, macro=macro, posture_file=posture_file, forewarner=forewarner, synthetic=synthetic)
    return lambda tables, paths: full_stack(loaded.settings, tables, paths, side, sources)


def _funding(path: Path | None, files: list[Path]) -> Any:
    if path is None:
        return None
    from dolphin.engine.costs import FundingSeries
    from dolphin.storage.day_table import read_day
    from dolphin.storage.funding import read_funding

    symbols = sorted({name for file in files for name in read_day(file).assets})
    times, rates = read_funding(path, symbols)
    return FundingSeries(times, tuple(symbols), rates)
