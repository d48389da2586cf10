"""Verdict, Markdown and comparison."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from report import fake

from dolphin.report import Run, build_run, compare, comparison_to_markdown, read_run, to_markdown, verdict, write_run
from dolphin.report.notes import ASSETS, EXITS, REFUSALS
from dolphin.report.text import cautions, count, number, percent, span, table
from dolphin.types import AssetVerdict, ExitReason, Refusal


def test_numbers_read_well():
    """Signs, thousands, nothing for nothing, no sign on zero."""
    assert (percent(0.0123), percent(-0.031), percent(None), percent(-1e-9), percent(0.5, 0, sign=False)) == (
        "+1.2 %",
        "-3.1 %",
        "n/a",
        "0.0 %",
        "50 %",
    )
    assert (number(1234.5), number(None), number(-0.001), number(3.0, 1, sign=True), number(0.0, sign=True)) == (
        "1,234.50",
        "n/a",
        "0.00",
        "+3.0",
        "0.00",
    )
    assert (count(1, "day"), count(2000, "trade")) == ("1 day", "2,000 trades")
    assert (span([]), span(["a"]), span(["a", "b"])) == ("", "a", "a to b")


def test_the_verdict_puts_honest_first():
    """One line: honest, champion, trades, days."""
    summary = {"honest": {"roi": -0.031}, "roi": 0.012, "trades": 214, "days": ["x"] * 30}
    assert verdict(summary) == "honest -3.1 %, champion +1.2 %, 214 trades, 30 days"


def test_a_table_stays_a_table_whatever_its_cells_hold():
    """Pipes and newlines are escaped; every line has the same number of cells."""
    text = table(["a", "b"], [["x|y", "1"], ["two\nlines", "22"]])
    assert "x\\|y" in text
    assert {line.replace("\\|", "").count("|") for line in text.splitlines()} == {3}


def test_markdown_shows_both_ledgers_and_what_is_missing(month: Run):
    """Verdict first, honest column before champion, outages, skipped day, refusals, limits, hash."""
    text = to_markdown(month.summary)
    assert text.startswith("# " + verdict(month.summary))
    for piece in (
        "2021-04-20: 150 min missing (02:00-04:30)",
        "2021-05-02 skipped",
        "vel_div did not cross",
        "price differences",
        month.summary["trades_hash"],
    ):
        assert piece in text
    heads = [line for line in text.splitlines() if line.startswith("|") and "champion" in line]
    assert len(heads) >= 6
    assert all(line.index("honest") < line.index("champion") for line in heads)


def test_a_short_run_is_not_taken_for_proof(run: Run, month: Run):
    """Below 30 days the reader is warned that Sharpe says little; a month is not warned of that."""
    assert "Only 2 days: Sharpe, volatility and drawdown say little." in cautions(run.summary)
    assert not [line for line in cautions(month.summary) if line.startswith("Only")]
    assert "7 h 15 min of market data missing." in cautions(month.summary)


def test_markdown_of_a_run_without_trades():
    """No groups, no division by zero."""
    bars = fake.market(days=1, assets=3)
    assert "0 trades, 1 day" in to_markdown(build_run(fake.context(bars, refusals={}), [], bars).summary)


def test_every_reason_has_words():
    """No exit reason, refusal or verdict on an asset shows as a bare name, and none is worded that does not exist."""
    assert set(REFUSALS) == {reason.name for reason in Refusal}
    assert set(EXITS) == {reason.name for reason in ExitReason} - {"NONE"}
    assert set(ASSETS) == {verdict.value for verdict in AssetVerdict}
    assert all(words and "\n" not in words for table in (ASSETS, EXITS, REFUSALS) for words in table.values())


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Run, Run]:
    """Two runs on one market, read back from disk: the second lacks a trade, leaves another elsewhere, has another seed."""
    bars = fake.market(days=1, assets=5)
    trades, _ = fake.trades(bars)
    other = copy.deepcopy(trades)
    other[1] |= {"exit_price": other[1]["exit_price"] * 1.001, "reason": "STOP_LOSS"}
    other[2] |= {"capital_after": other[2]["capital_after"] + 5}
    del other[3]
    second = fake.context(bars, config=fake.load(flags={"seed": 43}), config_hash="beef")
    for name, context, rows in (("a", fake.context(bars), trades), ("b", second, other)):
        write_run(tmp_path / name, build_run(context, rows, bars), fake.publish)
    return read_run(tmp_path / "a"), read_run(tmp_path / "b")


def test_comparing_a_run_with_itself_finds_nothing(pair: tuple[Run, Run]):
    """All trades identical, same hash, same settings."""
    same = compare(pair[0], pair[0])
    assert same["identical_trades"]
    assert same["identical_config"]
    assert same["trades"]["identical"] == same["trades"]["matched"] == same["a"]["trades"]
    assert same["trades"]["differing"] == same["trades"]["only_a"] == same["trades"]["only_b"] == same["config"] == []


def test_comparing_names_every_difference(pair: tuple[Run, Run]):
    """One trade missing, one with two other fields, one with other capital only; the changed setting."""
    found = compare(*pair)
    trades = found["trades"]
    assert not found["identical_trades"]
    assert [set(item["fields"]) for item in trades["differing"]] == [{"exit_price", "reason"}, {"capital_after"}]
    assert trades["differing"][0]["fields"]["reason"][1] == "STOP_LOSS"
    assert trades["only_ledger"] == 1
    assert (len(trades["only_a"]), len(trades["only_b"])) == (1, 0)
    assert trades["identical"] == trades["matched"] - 2
    assert found["config"] == [{"name": "engine.seed", "a": 42, "b": 43}]
    json.dumps(found, allow_nan=False)


def test_comparisons_read_well(pair: tuple[Run, Run]):
    """Figures side by side, then the trades; long lists end with a count."""
    text = comparison_to_markdown(compare(*pair), most=1)
    for piece in (
        "A honest",
        "B champion",
        "trades different, config different, data the same",
        "## Only in A",
        "## Differing fields",
        "... and 2 more.",
    ):
        assert piece in text


def test_runs_without_times_are_matched_by_bar():
    """Entry time 0 means unknown: the bar number stands in."""
    bars = fake.market(days=1, assets=5)
    trades = [{**t, "entry_ts": 0} for t in fake.trades(bars)[0]]
    run = build_run(fake.context(bars), trades, bars)
    found = compare(run, run)["trades"]
    assert found["matched_by"] == "entry_bar"
    assert found["matched"] == len(trades)
