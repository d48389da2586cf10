"""The full stack against the slow one, trade by trade, from the same files: synthetic days with books, and real days."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from oracle_engine import assert_same_trades
from oracle_stack import OracleStack, VerdictTable
from stack_days import DATES, POSTURES, VERDICTS, write_stack_days

from dolphin.config import PathsConfig, Settings, SyntheticConfig
from dolphin.engine.records import table_rows
from dolphin.engine.schedule import PostureSchedule
from dolphin.report.files import read_run
from dolphin.storage.day_table import list_days, read_day
from dolphin.storage.klines import KlineStore
from dolphin.types import TRADE_FIELDS
from flows.cli_options import loaded_config
from flows.cli_runs import Lane, Stack, backtest
from flows.console import progress
from flows.scans import cached_scan
from flows.stack import Sources, cached_books, full_stack
from flows.synth import cached_market

SETTINGS = Settings()
BOTH = pytest.mark.parametrize("direction", [-1, 1], ids=["SHORT", "LONG"])
LAYERS = ("book", "macro", "verdicts", "postures")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Day tables, books and series of eight days."""
    return write_stack_days(tmp_path_factory.mktemp("stack"))


def product(files, direction, parts):
    """Trades of the product with these layers, its layers, and what each day returned."""
    tables = [read_day(path, sidecar=False) for path in files.paths]
    given = {name: getattr(files, name) for name in ("book", "macro") if name in parts}
    layers = full_stack(SETTINGS, tables, files.paths, direction, Sources(**given))
    layers = replace(
        layers,
        breaker=layers.breaker if "macro" in parts else None,
        forewarner=VerdictTable(VERDICTS) if "verdicts" in parts else None,
    ).replaying(PostureSchedule(tuple(POSTURES) if "postures" in parts else ()))
    engine = layers.engine(SETTINGS.engine)
    days = [layers.run_day(engine, table.date, table_rows(table), direction) for table in tables]
    return engine.trades, layers, days


def slow(files, direction, parts):
    """The same from the slow stack."""
    given = {name: getattr(files, name) for name in ("book", "macro") if name in parts}
    given |= {name: value for name, value in (("verdicts", VERDICTS), ("postures", POSTURES)) if name in parts}
    stack = OracleStack(SETTINGS.engine, files.paths, direction=direction, **given)
    stack.run()
    return stack


@BOTH
def test_every_layer_at_once_equals_the_oracle(files, direction):
    """Books, breaker, verdicts and postures that change inside the day; every state is met by a trade."""
    trades, layers, days = product(files, direction, LAYERS)
    oracle = slow(files, direction, LAYERS)
    assert_same_trades(trades, oracle.engine.trades)
    for day, want in zip(days, oracle.days.values(), strict=True):
        assert (day["boost"], day["beta"], day["mc_status"]) == (pytest.approx(want["boost"]), pytest.approx(want["beta"]), want["mc"])
    assert layers.forewarner.asked == [(date, pytest.approx(5.0 * day["boost"])) for date, day in oracle.days.items()], (
        "the forewarner is asked about the boosted leverage, as of the day"
    )
    assert {day["mc"] for day in oracle.days.values()} == {"OK", "ORANGE", "RED"}
    assert {t["mc_status"] for t in trades} == {"OK", "ORANGE"}
    assert {t["posture"] for t in trades} == {"APEX", "STALKER"}
    assert "HIBERNATE_HALT" in {t["reason"] for t in trades}
    assert max(t["leverage"] for t in trades if t["posture"] == "STALKER") == 2.0
    assert len({t["boost"] for t in trades}) > 2
    assert {t["beta"] for t in trades} >= {0.2, 0.8}
    assert any(t["boost"] > 1 and t["beta"] >= 0.8 for t in trades)
    assert {round(day["beta"], 9) for day in oracle.days.values()} == {round(b * f, 9) for b in (0.2, 0.8) for f in (1, 1 + 0.25 * 7 / 9)}
    assert len(trades) > 60


@BOTH
@pytest.mark.parametrize(
    "parts",
    [(), ("book",), ("macro",), ("verdicts",), ("postures",), ("book", "macro"), ("macro", "verdicts", "postures"), ("book", "postures")],
    ids=lambda parts: " + ".join(parts) or "engine alone",
)
def test_any_choice_of_layers_equals_the_oracle(files, direction, parts):
    """Each layer by itself, and some together."""
    short = replace(files, paths=files.paths[1:])
    trades, _, _ = product(short, direction, parts)
    assert_same_trades(trades, slow(short, direction, parts).engine.trades)
    assert len(trades) > 40


@BOTH
def test_the_pipeline_from_synthetic_klines_equals_the_oracle(tmp_path, direction):
    """Day tables, cached books and the postures that follow, as ``dolphin backtest --stack full`` makes them without any argument."""
    settings = Settings(synthetic=SyntheticConfig(assets=14, days=8, bar_seconds=300), paths=PathsConfig(cache=str(tmp_path)))
    folder, _ = cached_scan(KlineStore(cached_market(settings, progress)), settings, "", "", track=progress)
    paths = list_days(folder)
    tables = [read_day(path) for path in paths]
    layers = full_stack(settings, tables, paths, direction, Sources(synthetic=True))
    engine, watch = layers.engine(settings.engine), layers.watch()
    for table in tables:
        layers.run_day(engine, table.date, table_rows(table), direction, watch)
    books, found = cached_books(settings, settings.synthetic), [(ts, posture.value) for ts, posture in watch.changes]
    assert len(found) > 8, "postures follow from the run and its books"
    oracle = OracleStack(settings.engine, paths, direction=direction, book=books, macro=tmp_path / "none", postures=found)
    assert_same_trades(engine.trades, oracle.run())
    assert len(engine.trades) > 10
    assert {day["beta"] for day in oracle.days.values()} == {0.2, 0.8}


def test_the_verb_makes_the_trades_of_the_oracle(files, tmp_path):
    """`backtest --stack full --book --macro --posture-file` writes them to the run's folder, field by field."""
    days = dict(zip(DATES, ["APEX", "STALKER", "TURTLE", "STALKER", "APEX", "HIBERNATE", "APEX", "APEX"], strict=True))
    (tmp_path / "postures.json").write_text(json.dumps({date: p for date, p in days.items() if p != "APEX"}))
    outcome = backtest(
        data=files.paths[0].parent,
        direction=Lane.LONG,
        stack=Stack.FULL,
        book=files.book,
        macro=files.macro,
        posture_file=tmp_path / "postures.json",
        changes=[f"paths.runs={tmp_path / 'runs'}"],
    )
    schedule = [(int(pd.Timestamp(date, tz="UTC").timestamp() * 1000), posture) for date, posture in days.items()]
    oracle = OracleStack(SETTINGS.engine, files.paths, direction=1, book=files.book, macro=files.macro, postures=schedule)
    assert_same_trades(trades_of(outcome), oracle.run())
    assert {t["posture"] for t in oracle.engine.trades} == {"APEX", "STALKER"}


REAL = [("perp_1m_2025-05", "2025-05-05", "2025-06-02"), ("spot_1m_2021-04", "2021-04-22", "2021-04-26")]


@pytest.mark.real_data
@BOTH
@pytest.mark.parametrize(("klines", "first", "last"), REAL, ids=lambda value: value)
def test_real_days_with_real_series_equal_the_oracle(shared_data, tmp_path, direction, klines, first, last):
    """Funding, DVOL, fear and greed and taker as downloaded, funding in the honest ledger too; boosted days with beta 0.8 among them.

    In April 2021 fear stood below 40 with nothing to confirm it: no boost. APEX throughout: STALKER's cap would hide the boosts.
    """
    changes, rates = [f"paths.runs={tmp_path}"], shared_data / "funding" / "binance_perp_8h_funding.parquet"
    (tmp_path / "apex.json").write_text("[]")
    outcome = backtest(
        klines=shared_data / "klines" / klines, first=first, last=last, direction=Lane.SHORT if direction < 0 else Lane.LONG,
        stack=Stack.FULL, macro=shared_data, posture_file=tmp_path / "apex.json", funding=rates, changes=changes,
    )  # fmt: skip
    settings = loaded_config(None, changes).settings
    folder, _ = cached_scan(KlineStore(shared_data / "klines" / klines), settings, "", last, track=progress)
    paid = {
        name: list(zip(rows.ts, rows.funding_rate.astype(float), strict=True)) for name, rows in pd.read_parquet(rates).groupby("symbol")
    }
    paths = [path for path in list_days(folder) if path.stem <= last]
    oracle = OracleStack(settings.engine, paths, direction=direction, macro=shared_data, funding=paid, first=first)
    assert_same_trades(trades_of(outcome), oracle.run())
    assert len(oracle.engine.trades) > 10
    boosted = {date for date, day in oracle.days.items() if day["boost"] > 1 and day["beta"] == 0.8}
    assert boosted == ({"2025-05-26", "2025-05-29"} if klines.startswith("perp") else set())
    assert boosted <= {t["date"] for t in oracle.engine.trades if t["boost"] > 1}


@pytest.mark.real_data
def test_real_days_in_the_postures_of_the_run_equal_the_oracle(shared_data, tmp_path):
    """Without a schedule the postures follow from the run; under those that its summary names the oracle makes the same trades."""
    klines, changes = shared_data / "klines" / "perp_1m_2025-05", [f"paths.runs={tmp_path}"]
    span = ("2025-05-21", "2025-05-30")
    outcome = backtest(klines=klines, first=span[0], last=span[1], stack=Stack.FULL, macro=shared_data, changes=changes)
    found = [tuple(change) for change in outcome.data["summary"]["detail"]["layers"]["postures"]]
    settings = loaded_config(None, changes).settings
    folder, _ = cached_scan(KlineStore(klines), settings, "", span[1], track=progress)
    paths = [path for path in list_days(folder) if path.stem <= span[1]]
    oracle = OracleStack(settings.engine, paths, macro=shared_data, postures=found, first=span[0])
    assert_same_trades(trades_of(outcome), oracle.run())
    assert len(oracle.engine.trades) > 10
    assert {t["posture"] for t in oracle.engine.trades} == {"STALKER"}, "no order book: at most STALKER"


def trades_of(outcome):
    """The trades of a run's folder as records."""
    columns = read_run(Path(outcome.data["run"])).trades
    return [dict(zip(TRADE_FIELDS, row, strict=True)) for row in zip(*(columns[name].tolist() for name in TRADE_FIELDS), strict=True)]
