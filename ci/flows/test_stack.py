"""The full stack in a backtest: what is attached, what is said to be missing, and the ablation."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from browser import launched, opened

from dolphin.config import PathsConfig, Settings, SyntheticConfig, load
from dolphin.engine.records import table_rows
from dolphin.errors import ConfigError, DataError, MalformedFile, QualityError
from dolphin.storage.archive import ScanDay, write_scans
from dolphin.storage.day_table import list_days, read_day
from dolphin.storage.klines import KlineStore
from dolphin.storage.schema import day_start
from flows import explain
from flows.ablate import STEPS, Ablation, Step, ablation_page, paired_interval
from flows.backtest import Plan, run_backtest
from flows.console import progress
from flows.layers import Layers
from flows.postures import read_postures
from flows.scans import cached_scan
from flows.stack import Sources, cached_books, full_stack, macro_sources
from flows.synth import cached_market

CLI = [sys.executable, "-m", "flows.cli"]


def dolphin(*arguments, cwd):
    return subprocess.run([*CLI, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """Settings, day tables and their files of seven synthetic days of 12 assets at 5 minutes."""
    settings = Settings(
        synthetic=SyntheticConfig(assets=12, days=7, bar_seconds=300), paths=PathsConfig(cache=str(tmp_path_factory.mktemp("stack")))
    )
    folder, _ = cached_scan(KlineStore(cached_market(settings, progress)), settings, "", "", track=progress)
    paths = list_days(folder)
    return settings, [read_day(path) for path in paths], paths


def run(layers, settings, tables):
    engine, watch = layers.engine(settings.engine), layers.watch()
    days = [layers.run_day(engine, t.date, table_rows(t), watch=watch) for t in tables]
    return engine, days


def macro(folder, dates):
    """CSV series that give two signals on the third day: negative funding and high DVOL, taker and fear in between."""
    stamps = [day_start(date) for date in dates]
    for name, quiet, loud in (("funding_btc", 0.0001, -0.0009), ("dvol_btc", 50, 90), ("fng", 50, 50), ("taker", 1.0, 1.0)):
        values = [loud if k in (1, 2) else quiet for k in range(len(stamps))]
        (folder / f"{name}.csv").write_text("ts,value\n" + "".join(f"{t},{v}\n" for t, v in zip(stamps, values, strict=True)))
    return folder


def test_the_book_changes_the_run_and_is_the_same_from_its_recording(market):
    """The cached synthetic books are written once; the layer is reached by the run."""
    settings, tables, paths = market
    layers = full_stack(settings, tables, paths, -1, Sources(synthetic=True))
    stamps = {path: path.stat().st_mtime_ns for path in cached_books(settings, settings.synthetic).glob("*.parquet")}
    again = full_stack(settings, tables, paths, -1, Sources(synthetic=True))
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    plain, _ = run(Layers(), settings, tables)
    one, _ = run(layers, settings, tables)
    two, _ = run(again, settings, tables)
    assert one.trades == two.trades
    assert one.trades != plain.trades
    assert "book_missing" not in layers.flags


def test_boosts_come_from_the_series_of_the_folder_and_gaps_are_said(market, tmp_path):
    """Two signals raise the boost of a day; without series the flag says so and the boost is 1."""
    settings, tables, paths = market
    dates = [table.date for table in tables]
    with_series = full_stack(settings, tables, paths, -1, Sources(macro=macro(tmp_path, dates)))
    _, days = run(with_series, settings, tables)
    boosts = {day["date"]: day["boost"] for day in days}
    assert max(boosts.values()) == pytest.approx(1.549306, abs=1e-6)
    assert min(boosts.values()) == 1.0
    assert with_series.acb_mode == "as_of"
    without = full_stack(settings, tables, paths, -1, Sources())
    assert {"macro_missing", "book_missing"} <= set(without.flags)
    assert any("funding_btc" in note for note in without.notes)
    assert {day["boost"] for day in run(without, settings, tables)[1]} == {1.0}


def test_a_posture_schedule_reaches_the_engine(market, tmp_path):
    """TURTLE enters nothing on its day; a bad schedule is refused."""
    settings, tables, paths = market
    quiet = tables[3].date
    path = tmp_path / "postures.json"
    path.write_text(json.dumps({quiet: "TURTLE"}))
    layers = full_stack(settings, tables, paths, -1, Sources(posture_file=path))
    _, days = run(layers, settings, tables)
    assert {day["date"]: day["posture"] for day in days}[quiet] == "TURTLE"
    assert [day["refusals"].get("HALTED", 0) > 0 for day in days].count(True) == 1
    path.write_text(json.dumps({quiet: "SLEEPY"}))
    with pytest.raises(ConfigError, match="SLEEPY"):
        read_postures(path)
    path.write_text("[1]")
    with pytest.raises(MalformedFile, match="posture schedule"):
        read_postures(path)
    with pytest.raises(QualityError, match="no series"):
        macro_sources(tmp_path / "nothing")


def test_a_full_stack_run_is_explained_from_what_its_summary_names(market, tmp_path):
    """Book, macro and postures are found again: every bar of a day has the code of the run; a source that changed is refused."""
    settings, tables, paths = market
    sources = macro(tmp_path, [table.date for table in tables])
    schedule = tmp_path / "postures.json"
    schedule.write_text(json.dumps({tables[2].date: "STALKER"}))
    given = {"macro": sources, "posture_file": schedule, "synthetic": True}
    settings = msgspec.structs.replace(settings, paths=msgspec.structs.replace(settings.paths, runs=str(tmp_path / "runs")))
    loaded = msgspec.structs.replace(load(), settings=settings)
    plan = Plan(folder=paths[0].parent, loaded=loaded, layers=lambda t, p: full_stack(settings, t, p, -1, Sources(**given)))
    folder, ran = run_backtest(plan, paths)
    source = explain.open_run(folder)
    story = explain.explain_day(source, tables[2].date)
    assert sum(story.refusals.values()) > 100
    codes = Counter(x.code for x in explain._explained(source, range(story.first_bar, story.first_bar + story.bars)))
    assert {code: many for code, many in codes.items() if code != "NONE"} == story.refusals
    assert {x.size.leverage_cap for x in explain._explained(source, range(story.first_bar, story.first_bar + story.bars)) if x.entry} <= {
        2.0
    }
    assert ran.summary["detail"]["layers"]["postures"]
    (sources / "fng.csv").write_text("ts,value\n")
    with pytest.raises(DataError, match="has changed since the run"):
        explain.open_run(folder)


def test_where_a_run_begins_changes_no_threshold(market):
    """The breaker knows the eigenvalue velocities of all earlier days of the folder, run or not, and the summary names their files."""
    settings, tables, paths = market
    known = [full_stack(settings, tables[k:], paths[j:], -1, Sources()) for k, j in ((0, 0), (5, 0), (5, 5))]
    whole, late, alone = ([x.breaker.get_dynamic_boost_for_date(t.date)["w750_vel"] for t in tables[3:]] for x in known)
    assert np.isfinite(whole).all()
    assert whole == late
    assert np.isnan(alone[0])
    assert [item["file"] for item in known[1].record()["before"]] == [str(path) for path in paths[:5]]


def test_archived_indicators_come_before_the_series(market, tmp_path):
    """A day with an eigenvalue archive takes the medians of its first ten indicator scans; the others keep their series."""
    settings, tables, paths = market
    dates = [table.date for table in tables]
    folder = macro(tmp_path, dates)
    number = np.arange(12)
    indicators = np.tile([-0.0002, 85.0, 20.0, 0.75], (12, 1))
    indicators[10:] = [0.1, 1.0, 99.0, 9.0]
    stamps = day_start(dates[4]) + 60_000 * (1 + number)
    write_scans(folder, ScanDay(dates[4], number, stamps, np.ones((12, 10)), indicators))
    layers = full_stack(settings, tables, paths, -1, Sources(macro=folder))
    assert layers.breaker.get_dynamic_boost_for_date(dates[4])["signals"] == 4.0
    assert layers.breaker.get_dynamic_boost_for_date(dates[5])["signals"] == 0.0
    assert layers.breaker.get_dynamic_boost_for_date(dates[2])["signals"] >= 2.0


def test_a_paired_interval_finds_an_effect_and_does_not_find_noise():
    """A shift of 50 bps in every day is found, noise without a shift holds 0; the seed makes it repeatable."""
    noise = np.random.default_rng(1).normal(0, 0.002, 200)
    mean, low, high = paired_interval(noise + 0.005)
    assert low > 0
    assert low < mean < high
    _, low, high = paired_interval(noise - noise.mean())
    assert low < 0 < high
    assert paired_interval(noise) == paired_interval(noise)


def test_the_verbs_run_the_full_stack_and_the_ablation(tmp_path):
    """`backtest --stack full` and `--ablate`, on the synthetic market, as a person meets them."""
    small = ("--set", "synthetic.assets=12", "--set", "synthetic.days=2", "--set", "synthetic.bar_seconds=300")
    done = dolphin("backtest", "--stack", "full", "--json", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)["summary"]
    assert summary["acb_mode"] == "as_of"
    assert "macro_missing" in summary["flags"]
    assert summary["detail"]["notes"]
    done = dolphin("backtest", "--stack", "full", "--ablate", "--json", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [step["name"] for step in found["steps"]] == [name for name, _, _ in STEPS]
    assert (tmp_path / found["page"]).is_file()
    refused = dolphin("backtest", "--macro", tmp_path, *small, cwd=tmp_path)
    assert refused.returncode == 2
    assert "--stack full" in refused.stderr


def test_nautilus_makes_the_trades_of_the_full_stack(tmp_path):
    """Parity holds with a book and a breaker attached."""
    small = ("--set", "synthetic.assets=12", "--set", "synthetic.days=2", "--set", "synthetic.bar_seconds=300")
    done = dolphin("backtest", "--stack", "full", "--engine", "nautilus", "--json", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    venue = json.loads(done.stdout)["summary"]["detail"]["venue"]
    assert venue["parity"]["equal"]
    assert abs(venue["account_residual"]) < 1e-6


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_ablation_page_opens_without_a_complaint(market, tmp_path, width, scheme):
    """One file, no request, nothing wider than the window; both charts are drawn."""
    step = {"trades": 5, "champion": 0.01, "honest": -0.02}
    steps = [Step(name=f"+ layer {k}", change=3.0 * k, low=-5.0 + k, high=9.0, **step) for k in range(6)]
    page = tmp_path / "ablation.html"
    page.write_text(
        ablation_page(Ablation(7, [replace(steps[0], change=None, low=None, high=None), *steps[1:]], ["postures"])), encoding="utf-8"
    )
    with launched() as browser, opened(browser, page, width, scheme=scheme) as seen:
        seen.page.wait_for_timeout(500)
        assert seen.complaints == []
        assert len(seen.requests) == 1
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        assert seen.page.locator("canvas").count() == 2
        assert "7 days" in seen.page.locator("h1").inner_text()


def test_a_full_stack_run_of_the_command_line_is_explained(tmp_path):
    """``backtest --stack full`` and ``explain``, as a user types them."""
    small = ("--set", "synthetic.assets=12", "--set", "synthetic.days=2", "--set", "synthetic.bar_seconds=300")
    assert dolphin("backtest", "--stack", "full", "--from", "2025-01-02", *small, cwd=tmp_path).returncode == 0
    shown = dolphin("explain", "runs/latest", "--bar", "150", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "DECIDED" in shown.stdout
