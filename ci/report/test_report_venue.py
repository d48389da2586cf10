"""Orders and fills in the report: figures against hand sums, words for the terminal, the page's section and its absence."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Opened, opened
from report import fake
from report.test_report_browser import BLANK, SPILT, settled

from dolphin.config import EngineConfig
from dolphin.errors import QualityError
from dolphin.report import Run, VenueRun, VenueTrade, build_run, read_run, rebuild, render_html, to_markdown, venue_summary, write_run
from dolphin.report.markdown import headline
from dolphin.report.notes import VENUE_PARTS
from dolphin.report.page import page_data
from dolphin.report.text import cautions
from dolphin.report.venue import PARTS, parity_line

EVIL = "<img src=x onerror=document.title='owned'>"


def one(**changes: Any) -> VenueTrade:
    """A trade whose six parts sum to -10: model +40, fills +30."""
    values: dict[str, Any] = {
        "trade_id": 0, "asset": "AUSDT", "direction": -1, "quantity_model": 2.0, "quantity_filled": 1.5, "model_net": 40.0,
        "fills_net": 30.0, "credits": -6.0, "fees": -2.0, "slippage": -1.0, "latency": 0.5, "quantity": -1.25, "funding": -0.25,
    }  # fmt: skip
    return VenueTrade(**values | changes)


def small_run(**changes: Any) -> VenueRun:
    """Four trades by hand: fills 30 + 25 - 5 + 0 = 50, model 40 + 35 + 5 + 0 = 80; the account ends 50 higher."""
    missed = {"model_net": 0.0, "fills_net": 0.0, **dict.fromkeys(PARTS, 0.0), "quantity_filled": 0.0}
    trades = [
        one(entry_liquidity="maker", exit_liquidity="maker"),
        one(trade_id=1, model_net=35.0, fills_net=25.0, entry_liquidity="maker", exit_liquidity="taker"),
        one(trade_id=2, model_net=5.0, fills_net=-5.0, entry_liquidity="mixed", exit_liquidity="taker"),
        one(trade_id=3, **missed, entry_liquidity="none", exit_liquidity="none"),
    ]
    values: dict[str, Any] = {
        "engine": "nautilus_trader 1.231.0", "order_style": "maker", "latency_ms": 100.0, "spread_bps": 1.5, "orders": 9, "fills": 7,
        "denied": {"MAX_NOTIONAL": 2, "NOT_TRADABLE": 1}, "rejected": 1, "start_balance": 1000.0, "end_balance": 1050.0, "realised": 60.0,
        "fees": 9.0, "funding": -1.0, "trades": trades, "parity": {"trades": 4, "equal": True, "first_difference": ""},
    }  # fmt: skip
    return VenueRun(**values | changes)


@pytest.fixture(scope="module")
def with_venue() -> Run:
    """Two days of market orders, every trade filled."""
    bars = fake.market(days=2)
    trades, left_open = fake.trades(bars)
    return build_run(fake.context(bars, left_open, venue=fake.venue(trades)), trades, bars)


@pytest.fixture(scope="module")
def busy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty days of resting orders: missed and partial entries, refusals, rejections, failed parity, names that look like markup."""
    bars = fake.market(days=30, assets=40, outages=True)
    trades, left_open = fake.trades(bars)
    venue = fake.venue(
        trades,
        "maker",
        denied={EVIL: 3},
        rejected=2,
        engine=EVIL,
        hashes={"orders": EVIL},
        files={EVIL: "javascript:alert(1)", "Orders": "orders & fills#1?.parquet"},
        parity={"trades": 9, "equal": False, "first_difference": EVIL},
    )
    folder = tmp_path_factory.mktemp("busy")
    write_run(folder, build_run(fake.context(bars, left_open, venue=venue), trades, bars), fake.publish)
    return folder


def test_the_figures_are_hand_sums():
    """Nets, parts, difference, account identity and counts of four trades written out."""
    found = venue_summary(small_run(), EngineConfig())
    assert found["net"] == {"fills": 50.0, "model": 80.0}
    assert found["parts"] == {"credits": -18.0, "fees": -6.0, "slippage": -3.0, "latency": 1.5, "quantity": -3.75, "funding": -0.75}
    assert sum(found["parts"].values()) == found["net"]["fills"] - found["net"]["model"] == -30.0
    assert found["sum_error"] == 0.0
    assert found["account_residual"] == 1050.0 - (1000.0 + 60.0 - 9.0 - 1.0) == 0.0
    assert found["outside_trades"] == 0.0
    assert (found["denied_total"], found["rejected"], found["orders"], found["fills"]) == (3, 1, 9, 7)
    assert found["trades"]["quantity_filled"] == [1.5, 1.5, 1.5, 0.0]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_maker_share_leaves_out_what_was_not_filled():
    """Two of three filled entries, one of three filled exits, beside the engine's 0.62 and 0.50; market orders measure nothing."""
    found = venue_summary(small_run(), EngineConfig())["maker"]
    assert found["entries"] == {"maker": 2, "taker": 0, "mixed": 1, "none": 1, "share": 2 / 3, "assumed": 0.62}
    assert found["exits"] == {"maker": 1, "taker": 2, "mixed": 0, "none": 1, "share": 1 / 3, "assumed": 0.50}
    for other in (small_run(order_style="market"), small_run(trades=[])):
        assert [side["share"] for side in venue_summary(other, EngineConfig())["maker"].values()] == [None, None]


def test_what_does_not_add_up_is_said(run: Run):
    """A part that is off by 2, an account off by 3 and a failed parity each show as a figure and as a caution, before the others."""
    trades = [one(), one(trade_id=1, fees=-4.0)]
    venue = small_run(trades=trades, end_balance=1053.0, parity={"trades": 4, "equal": False, "first_difference": "trade 3:\n reason"})
    found = venue_summary(venue, EngineConfig())
    assert (found["sum_error"], found["account_residual"], found["outside_trades"]) == (2.0, 3.0, -7.0)
    lines = cautions({**run.summary, "detail": {**run.summary["detail"], "venue": found}})
    assert lines[:4] == [
        "Parity failed: the run with orders did not make the engine's trades.",
        "The account does not add up: +3.00 USDT unexplained.",
        "The parts miss the difference of a trade's two ledgers by up to 2.00 USDT.",
        "3 orders refused by our own checks, 1 rejected by the venue.",
    ]
    assert parity_line(found) == "parity: FAILED, first difference trade 3: reason"
    assert parity_line({"parity": {}}) == "parity: not checked"


def test_the_headline_has_three_lines_for_the_venue(with_venue: Run, run: Run):
    """Ledgers with their parts, orders with the account, and a line that begins with ``parity:``; nothing without a venue."""
    n = with_venue.summary["trades"]
    text = headline(with_venue.summary)
    assert f"\nparity: {n} of {n} trades equal the engine's (bar, asset, direction, reason, quantity)\n" in text
    assert re.search(r"\nfills [+-][\d,.]+ USDT, model [+-][\d,.]+, difference [+-][\d,.]+: credits -", text)
    assert f"\n{2 * n} orders (market, nautilus_trader 1.231.0), {2 * n + 5} fills, 0 refused, 0 rejected; account 25,000.00 -> " in text
    assert "## Orders and fills\n\nfills" in to_markdown(with_venue.summary)
    for words in (headline(run.summary), to_markdown(run.summary)):
        assert "parity:" not in words
        assert "Orders and fills" not in words
    found = venue_summary(small_run(), EngineConfig())
    summary = {**run.summary, "detail": {**run.summary["detail"], "venue": found}}
    assert "9 orders (maker, nautilus_trader 1.231.0), 7 fills, 3 refused (MAX_NOTIONAL 2, NOT_TRADABLE 1), 1 rejected" in headline(summary)


def test_a_venue_changes_nothing_else(with_venue: Run, run: Run):
    """Same trades, hash and figures; the one new key is ``detail.venue``, absent when there is none."""
    assert "venue" not in run.summary["detail"]
    assert page_data(run)["venue"] is None
    detail = {name: value for name, value in with_venue.summary["detail"].items() if name != "venue"}
    assert {**with_venue.summary, "detail": detail} == run.summary
    assert list(with_venue.summary["detail"])[:-1] == list(run.summary["detail"])


def test_the_folder_gives_the_page_back(with_venue: Run, tmp_path: Path):
    """Written, read and rebuilt: the same summary and the same bytes; the venue's trades travel once."""
    write_run(tmp_path, with_venue, fake.publish)
    before = (tmp_path / "report.html").read_bytes()
    back = read_run(tmp_path)
    assert back.summary == with_venue.summary
    rebuild(tmp_path, fake.publish)
    assert (tmp_path / "report.html").read_bytes() == before == render_html(back).encode()
    data = page_data(back)
    assert "trades" not in data["summary"]["detail"]["venue"]
    assert len(data["venue"]["trades"]["fills_net"]) == with_venue.summary["trades"]


def test_the_made_up_run_is_consistent(with_venue: Run):
    """The parts of the tests' own run add up to rounding, its account closes, and its model is the champion ledger."""
    venue = with_venue.summary["detail"]["venue"]
    assert venue["sum_error"] < 1e-9
    assert abs(venue["account_residual"]) < 1e-9
    assert abs(venue["outside_trades"]) < 1e-8
    assert venue["net"]["model"] == pytest.approx(math.fsum(with_venue.trades["net_pnl"]))
    assert set(VENUE_PARTS) == set(PARTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"direction": 0}, "column direction, row 0: 0, expected -1 or 1"),
        ({"fees": math.nan}, "column fees, row 0: not a finite number"),
        ({"exit_liquidity": "both"}, "column exit_liquidity, row 0: 'both', expected one of maker, taker, mixed, none"),
    ],
)
def test_a_bad_trade_is_refused(change: dict[str, Any], message: str):
    """Direction, finiteness and liquidity are named with the trade's number."""
    with pytest.raises(QualityError, match=re.escape(message)):
        one(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order_style": "stop"}, "column order_style: 'stop', expected one of market, maker"),
        ({"end_balance": math.inf}, "column end_balance: not a finite number"),
        ({"files": {"Orders": "../secret"}}, "column files: '../secret' is not the name of a file in the run's folder"),
        ({"files": {"Orders": ""}}, "column files: '' is not the name"),
    ],
)
def test_a_bad_run_is_refused(change: dict[str, Any], message: str):
    """Order style, finiteness, and file names that leave the folder."""
    with pytest.raises(QualityError, match=re.escape(message)):
        small_run(**change)


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_the_section_is_drawn_at_every_width(chromium: Any, busy_folder: Path, width: int, scheme: str):
    """Visible, no complaint, no request, no blank chart, no sideways scroll, no figure outside its tile; markup stays text."""
    path = busy_folder / "report.html"
    with opened(chromium, path, width=width, scheme=scheme) as seen:
        page = settled(seen, path).page
        assert page.is_visible("#venue h2")
        canvases = page.locator("#venue canvas").element_handles()
        assert len(canvases) == 2
        assert [k for k, canvas in enumerate(canvases) if canvas.evaluate(BLANK)] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("[...document.querySelectorAll('.card, .tile')].every(e => e.getBoundingClientRect().right <= innerWidth)")
        assert page.evaluate(SPILT) == []
        assert page.inner_text("#parity") == f"parity: FAILED, first difference {EVIL}"
        box = page.locator("#venue .chart").first
        box.scroll_into_view_if_needed()
        size = box.bounding_box()
        page.mouse.move(size["x"] + size["width"] * 0.6, size["y"] + 90)
        page.wait_for_timeout(80)
        assert "fills, sum so far" in box.inner_text()
        assert page.locator("img").count() == 0
        assert page.title() != "owned"
        assert seen.complaints == []


@pytest.fixture(scope="module")
def desk(chromium: Any, busy_folder: Path) -> Iterator[Opened]:
    """The thirty-day report with orders at 1280 px, light."""
    path = busy_folder / "report.html"
    with opened(chromium, path) as seen:
        yield settled(seen, path)


@pytest.mark.browser
def test_trades_with_the_largest_difference_come_first(desk: Opened, busy_folder: Path):
    """Twenty-five rows by |fills - model|; a heading sorts anew, the filter finds entries that were missed."""
    page, trades = desk.page, read_run(busy_folder).summary["detail"]["venue"]["trades"]
    differences = [f - m for f, m in zip(trades["fills_net"], trades["model_net"], strict=True)]
    column = "[...document.querySelectorAll('#venue-trades tbody tr')].map(r => parseFloat(r.cells[6].textContent.replace('\u2212', '-')))"
    ranked = sorted(differences, key=lambda x: -abs(x))
    assert page.evaluate(column) == pytest.approx(ranked[:25], abs=0.006)
    page.click("#venue-trades [data-key='difference']")
    assert page.evaluate(column) == pytest.approx(sorted(differences, reverse=True)[:25], abs=0.006)
    page.select_option("#venue-trades-size", "none")
    missed = trades["quantity_filled"].count(0.0)
    assert missed > 5
    assert page.locator("#venue-trades tbody tr").count() == min(missed, 25)
    page.select_option("#venue-trades-size", "")


@pytest.mark.browser
def test_bars_by_trade_or_so_far(desk: Opened):
    """The choice draws the lower chart anew."""
    picture = "document.querySelector('#venue canvas').toDataURL()"
    before = desk.page.evaluate(picture)
    desk.page.select_option("#venue-bars", "sum")
    assert desk.page.evaluate(picture) != before
    desk.page.select_option("#venue-bars", "each")
    assert desk.page.evaluate(picture) == before


@pytest.mark.browser
def test_links_stay_in_the_run_s_folder(desk: Opened):
    """Every link is relative and escaped, whatever the file is called."""
    links = desk.page.evaluate("[...document.querySelectorAll('#venue a')].map(a => a.getAttribute('href'))")
    assert links == ["./javascript%3Aalert(1)", "./orders%20%26%20fills%231%3F.parquet"]
    here = desk.page.url.rsplit("/", 1)[0]
    assert all(url.startswith(here + "/") for url in desk.page.evaluate("[...document.querySelectorAll('#venue a')].map(a => a.href)"))


@pytest.mark.browser
@pytest.mark.parametrize("case", ["no trades", "one trade", "no venue"])
def test_small_and_absent_ledgers(chromium: Any, tmp_path: Path, case: str):
    """No trade and one trade are shown without complaint; without a venue there is no section and no link to it."""
    bars = fake.market(days=1, assets=4)
    trades = fake.trades(bars)[0][: 1 if case == "one trade" else 0]
    venue = None if case == "no venue" else fake.venue(trades, files={}, hashes={}, parity={})
    write_run(tmp_path, build_run(fake.context(bars, venue=venue), trades, bars), fake.publish)
    with opened(chromium, tmp_path / "report.html") as seen:
        page = settled(seen, tmp_path / "report.html").page
        shown = page.locator("#venue").count()
        assert shown == page.locator("nav a[href='#venue']").count() == int(venue is not None)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        if shown:
            assert page.inner_text("#parity") == "parity: not checked"
            assert page.locator("#venue canvas").count() == 1 + len(trades)
