"""`dolphin explain` from a run's folder: every bar of a day, trades, days, and everything that is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from itertools import pairwise

import pytest
from builders import RandomBook, day
from typer.testing import CliRunner

from dolphin import NDAlphaEngine, load_profile
from dolphin.config import load
from dolphin.engine.explain import explain_row
from dolphin.engine.schedule import PostureSchedule
from dolphin.errors import CheckFailed, ConfigError, DataError, MalformedFile
from dolphin.storage.day_table import list_days
from dolphin.storage.klines import KlineStore
from flows import explain
from flows.backtest import Plan, run_backtest
from flows.cli import app
from flows.console import progress
from flows.explain_text import bar_text
from flows.layers import Layers
from flows.scans import cached_scan
from flows.synth import cached_market


class Steady:
    """A circuit breaker that says the same every day."""

    mode, flags = "as_of", ()

    def get_dynamic_boost_for_date(self, date, ob=None):
        return {"boost": 1.2, "beta": 0.5}


class Supporting:
    """An order book that says the same of every asset at all times: sellers lead, depth is fair."""

    def get_signal(self, asset, ts_ms):
        return {"imbalance_ma5": -0.2, "imbalance_persistence": 0.7, "withdrawal_velocity": 0.0}

    def get_placement(self, asset, ts_ms):
        return {"depth_quality": 1.2, "fill_probability": 0.5}

    def get_macro(self, ts_ms):
        return {"cascade_count": 0, "regime_signal": 0, "market_imbalance": -0.2, "market_agreement": 0.5}

    def get_market_multiplier(self, direction, ts_ms):
        return 1.1


FLAGS = {"synthetic.assets": 16, "synthetic.days": 3, "max_hold_bars": 40}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with one run of three synthetic days: configuration of its own, day tables beside it."""
    folder = tmp_path_factory.mktemp("explain")
    loaded = load(flags={**FLAGS, "paths.cache": str(folder / "cache"), "paths.runs": str(folder / "runs")})
    store = KlineStore(cached_market(loaded.settings, progress))
    scanned, _ = cached_scan(store, loaded.settings, "", "", track=progress)
    days = folder / "days"
    days.mkdir()
    for path in list_days(scanned):
        shutil.copy(path, days)
    run_backtest(Plan(folder=days, loaded=loaded), list_days(days))
    return folder


@pytest.fixture(scope="module")
def source(home):
    return explain.open_run(home / "runs" / "latest")


def dolphin(home, *arguments):
    return CliRunner().invoke(app, ["explain", str(home / "runs" / "latest"), *map(str, arguments)])


def told(done):
    def refuse(name):
        raise AssertionError(f"{name} in JSON")

    return json.loads(done.stdout, parse_constant=refuse)


def test_every_bar_of_a_day_is_explained_as_the_run_counted_it(source):
    """The second day, bar by bar: verdicts are the engine's (checked inside), their counts those of ``--day``."""
    first, stop = list(pairwise(source.first_bar))[1]
    found = explain._explained(source, range(first, stop))
    story = explain.explain_day(source, source.days[1])
    assert Counter(x.code for x in found) == Counter(story.refusals) + Counter(NONE=len(story.entries))
    assert [x.bar for x in found] == list(range(first, stop))
    assert [x.entry for x in found if x.entry] == story.entries
    assert [x.exit for x in found if x.exit] == story.exits
    for x in found:
        json.dumps(explain.explanation_dict(x), allow_nan=False)
        assert bar_text(x).startswith(f"bar {x.bar}, row {x.bar - first} of {source.days[1]}")


def test_three_refusals_and_an_entry_read_as_a_person_would_ask(home, source):
    """NO_SIGNAL, VOL_REGIME, DC_CONTRADICT: the deciding question with value and limit; an entry shows ranking and size."""
    first, stop = list(pairwise(source.first_bar))[1]
    found = explain._explained(source, range(first, stop))
    at = {x.code: x.bar for x in found}
    for code, words in (
        ("NO_SIGNAL", "vel_div below the threshold"),
        ("VOL_REGIME", "row of the day"),
        ("DC_CONTRADICT", "7 steps of the asset, bps"),
    ):
        done = dolphin(home, "--bar", at[code])
        assert done.exit_code == 0, done.output
        assert f"REFUSED: {code}, " in done.stdout
        assert [line for line in done.stdout.splitlines() if line.startswith(f"  DECIDED  {code}") and words in line]
    entered = dolphin(home, "--bar", at["NONE"]).stdout
    for words in (
        "ENTERED SHORT",
        "Ranking of 16 assets for a SHORT",
        "CHOSEN",
        "Direction: ",
        "before the clamp",
        "before caps",
        "notional",
    ):
        assert words in entered
    assert max(map(len, entered.splitlines())) < 140


def test_a_trade_is_told_from_entry_to_exit(home, source):
    """Best and worst pnl are those of the closes; a FIXED_TP exit reaches its limit; JSON carries the same."""
    trades = source.run.trades
    assert {"FIXED_TP", "MAX_HOLD"} <= set(trades["reason"].tolist())
    closes = dict(zip(source.run.bars.names, source.run.bars.closes.T, strict=True))
    for k, trade_id in enumerate(trades["trade_id"].tolist()):
        story = explain.explain_trade(source, trade_id)
        entry, last = int(trades["entry_bar"][k]), int(trades["exit_bar"][k])
        prices = closes[trades["asset"][k]][entry : last + 1]
        pnl = [-(price - prices[0]) / prices[0] for price in prices[1:] if price > 0]
        assert (story.best_pnl, story.worst_pnl) == pytest.approx((max(pnl), min(pnl)), rel=1e-12)
        assert (story.entry.code, story.exit.exit_reason) == ("NONE", trades["reason"][k])
        assert story.nearest_tp == pytest.approx(0.0095 - max(pnl), rel=1e-9)
        assert (story.nearest_tp <= 0) == (trades["reason"][k] == "FIXED_TP")
    done = dolphin(home, "--trade", 1, "--json")
    assert told(done)["trade"]["exit"]["exit_reason"] == trades["reason"][0]
    assert told(done)["schema"] == "dolphin.explain/1"
    text = dolphin(home, "--trade", 1).stdout
    assert all(word in text for word in ("ENTRY: bar", "COURSE", "best pnl", "nearest TP", "EXIT: bar", "The loop asked"))


def test_a_day_counts_every_bar_once_and_names_its_near_misses(home, source):
    """Refusals and entries add up to the day's bars; the nearest bars were refused and are the strongest of those."""
    for date, (first, stop) in zip(source.days, pairwise(source.first_bar), strict=True):
        day = told(dolphin(home, "--day", date, "--json"))["day"]
        assert sum(day["refusals"].values()) + len(day["entries"]) == stop - first == day["bars"]
        strengths = [near["strength"] for near in day["nearest"]]
        assert strengths == sorted(strengths, reverse=True)
        assert {near["code"] for near in day["nearest"]} <= set(explain.NEAR_MISSES)
    total = Counter()
    for date in source.days:
        total.update(explain.explain_day(source, date).refusals)
    assert dict(total) == source.run.summary["detail"]["refusals"]
    assert "nearest to an entry" in dolphin(home, "--day", source.days[1]).stdout


def test_json_of_any_bar_has_no_nan(home):
    """The first bar has no signal, no history and unknown figures: they are null."""
    bar = told(dolphin(home, "--bar", 0, "--json"))["bar"]
    assert bar["code"] == "WARMING_UP"
    assert bar["vel_div"] is None
    assert bar["meaning"]


@pytest.mark.parametrize("changes", [{}, {"use_asset_selection": False}, {"dc_lookback": 49, "use_direction_confirm": False}])
def test_every_kind_of_bar_reads_without_a_bare_nan(changes):
    """With a book, without selection, with missing prices: unknown figures are dashes in text and null in JSON."""
    book, rows = RandomBook(1), day(seed=3, bars=300, missing=0.05)
    engine = NDAlphaEngine(load_profile(**changes))
    engine.set_ob_engine(book)
    engine.begin_day("2025-01-01")
    engine.set_universe(rows.assets)
    for row in range(300):
        x = explain_row(engine, rows, row, ob=book)
        text = bar_text(x)
        assert " nan" not in text
        assert max(map(len, text.splitlines())) < 140
        json.dumps(explain.explanation_dict(x), allow_nan=False)
    assert len(engine.trades) > 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bar", "4320"], "--bar 4320: the run has bars 0 to 4319"),
        (["--bar", "-1"], "--bar -1: the run has bars 0 to 4319"),
        (["--trade", "9999"], "--trade 9999: the run has trades 1 to "),
        (["--day", "2024-02-30"], "--day 2024-02-30: not a day of the run (2025-01-01 to 2025-01-03)"),
        ([], "give exactly one of --bar, --trade and --day"),
        (["--bar", "1", "--trade", "1"], "give exactly one of --bar, --trade and --day"),
    ],
)
def test_what_the_run_has_not_is_a_settings_error(home, arguments, words):
    """Exit 2, one line that says what there is."""
    done = dolphin(home, *arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def copy(home, tmp_path):
    """The run and its day tables again, to be spoilt; the run names the copies."""
    shutil.copytree(home / "days", tmp_path / "days")
    run = (home / "runs" / "latest").resolve()
    shutil.copytree(run, tmp_path / "run")
    summary = tmp_path / "run" / "summary.json"
    summary.write_text(summary.read_text().replace(str(home / "days"), str(tmp_path / "days")))
    return tmp_path


def test_a_day_table_that_changed_or_is_gone_is_refused(copy):
    """Another sha256 is refused whatever its values; days after the bar asked for are not read."""
    day = copy / "days" / "2025-01-02.parquet"
    source = explain.open_run(copy / "run")
    with day.open("ab") as file:
        file.write(b" ")
    with pytest.raises(DataError, match=r"2025-01-02\.parquet: has changed since the run"):
        explain.explain_bar(source, 2000)
    assert explain.explain_bar(source, 1439).date == "2025-01-01"
    day.unlink()
    with pytest.raises(DataError, match="day table is gone"):
        explain.explain_day(source, "2025-01-03")


def test_a_run_that_this_engine_would_not_repeat_is_refused(copy):
    """Settings under another hash, trades that the engine does not make, a summary without its parts."""
    path = copy / "run" / "summary.json"
    whole = path.read_text()
    path.write_text(whole.replace('"value": 40,', '"value": 41,'))
    with pytest.raises(ConfigError, match="its engine configuration is"):
        explain.open_run(copy / "run")
    path.write_text(whole)
    source = explain.open_run(copy / "run")
    source.run.trades["exit_bar"][0] += 1
    with pytest.raises(CheckFailed, match="the engine makes another trade 1: exit_bar"):
        explain.explain_bar(source, 4319)
    for broken in ('{"schema": "dolphin.summary/1"}', whole.replace('"2025-01-03"\n', '"2025-01-03", "2025-01-04"\n', 1)):
        path.write_text(broken)
        with pytest.raises(MalformedFile, match=r"summary\.json"):
            explain.open_run(copy / "run")


def test_a_run_with_layers_is_explained_with_them_and_refused_without(home, tmp_path):
    """Breaker, book and postures given again: boost in every size, the book's word, a halted day; without them nothing is guessed."""
    layers = Layers(book=Supporting(), breaker=Steady(), postures=PostureSchedule.by_day({"2025-01-02": "TURTLE", "2025-01-03": "STALKER"}))
    loaded = load(flags={**FLAGS, "paths.runs": str(tmp_path)})
    plan = Plan(folder=home / "days", loaded=loaded, layers=lambda tables, paths: layers)
    folder, _ = run_backtest(plan, list_days(home / "days"))
    with pytest.raises(ConfigError, match="does not say where its layers came from"):
        explain.open_run(folder)
    source = explain.open_run(folder, layers)
    first, stop = source.first_bar[0], source.first_bar[1]
    entered = [x for x in explain._explained(source, range(first, stop)) if x.entry]
    assert entered
    assert {x.size.boost for x in entered} == {1.2}
    assert {x.size.market_mult for x in entered} == {1.1}
    assert "after the order book" in bar_text(entered[0])
    halted = explain.explain_day(source, "2025-01-02")
    assert halted.refusals["HALTED"] > 1000
    assert not halted.entries
    last = source.run.trades["trade_id"][-1]
    story = explain.explain_trade(source, int(last))
    assert story.entry.size.leverage_cap == 2.0


def test_relative_paths_count_from_where_the_backtest_ran(home, copy, monkeypatch):
    """A run of ``--data days`` is explained from the same folder, and elsewhere says what to do."""
    summary = copy / "run" / "summary.json"
    summary.write_text(summary.read_text().replace(str(copy / "days") + os.sep, "days/"))
    monkeypatch.chdir(copy)
    assert explain.explain_bar(explain.open_run(copy / "run"), 10).code == "WARMING_UP"
    monkeypatch.chdir(home / "runs")
    with pytest.raises(DataError, match="call from the folder in which the backtest ran"):
        explain.explain_bar(explain.open_run(copy / "run"), 10)
