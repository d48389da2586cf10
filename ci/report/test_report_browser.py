"""The page in a real browser: drawn, silent, self-contained, usable at every width and by keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Opened, opened
from report import fake

from dolphin.report import Run, build_run, write_run

pytestmark = pytest.mark.browser

BLANK = """canvas => {
  const c = document.createElement("canvas"); c.width = canvas.width; c.height = canvas.height;
  return canvas.toDataURL() === c.toDataURL();
}"""
SPILT = """() => [...document.querySelectorAll(".tile .v")]
  .filter(e => e.getBoundingClientRect().right > e.closest(".tile").getBoundingClientRect().right).map(e => e.textContent)"""
CONTRAST = """() => {
  const css = getComputedStyle(document.documentElement);
  const linear = x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4;
  const light = name => {
    const hex = css.getPropertyValue("--" + name).trim();
    const [r, g, b] = [1, 3, 5].map(k => linear(parseInt(hex.slice(k, k + 2), 16) / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const pairs = ["ink", "muted", "honest", "champion", "gain", "loss"].flatMap(i => ["bg", "card", "sunk"].map(g => [i, g]));
  const ratio = (a, b) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  return [...pairs, ["warn-ink", "warn-bg"]].map(([i, g]) => ratio(light(i), light(g)));
}"""
READY = "html[data-ready=yes]"


def settled(seen: Opened, path: Path) -> Opened:
    """The page after its script has run; it may neither complain nor ask for anything but itself."""
    seen.page.wait_for_selector(READY, state="attached")
    seen.page.wait_for_timeout(120)
    assert seen.complaints == []
    assert seen.requests == [path.as_uri()]
    return seen


def until(page: Any, expression: str, seconds: float = 8.0) -> bool:
    """Whether the expression becomes true in time; asked from outside, for the page's policy forbids ``eval``."""
    for _ in range(int(seconds / 0.05)):
        if page.evaluate(expression):
            return True
        page.wait_for_timeout(50)
    return False


@pytest.fixture(scope="module")
def desk(chromium: Any, month_folder: Path) -> Iterator[Opened]:
    """The thirty-day report at 1280 px, light."""
    path = month_folder / "report.html"
    with opened(chromium, path) as seen:
        yield settled(seen, path)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_every_chart_is_drawn_and_nothing_overflows(chromium: Any, month_folder: Path, width: int, scheme: str):
    """No complaint, no request, no blank canvas, no sideways scroll; cards stay inside the page."""
    path = month_folder / "report.html"
    with opened(chromium, path, width=width, scheme=scheme) as seen:
        page = settled(seen, path).page
        canvases = page.locator("canvas").element_handles()
        assert len(canvases) >= 11
        assert [k for k, canvas in enumerate(canvases) if canvas.evaluate(BLANK)] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(
            "[...document.querySelectorAll('.card, .tile, .hero *')].every(e => e.getBoundingClientRect().right <= innerWidth)"
        )
        assert page.evaluate(SPILT) == []


def test_the_first_screen_says_what_came_out(desk: Opened, month: Run):
    """Honest first and larger; period, trades, missing data and the note on credits."""
    title = desk.page.locator("h1")
    text = title.inner_text().replace("\u2212", "-")
    assert text.index("honest") < text.index("champion")
    assert f"{100 * month.summary['honest']['roi']:.1f} %" in text
    assert f"{100 * month.summary['roi']:.1f} %" in text
    sizes = desk.page.evaluate("['.big', '.mid'].map(q => parseFloat(getComputedStyle(document.querySelector('h1 ' + q)).fontSize))")
    assert sizes[0] > sizes[1]
    hero = desk.page.locator(".hero").inner_text()
    for piece in ("2021-04-02 to 2021-05-01", "7 h 15 min of market data missing", "1 day skipped", "no exchange pays", "still open"):
        assert piece in hero


def test_every_figure_stands_in_both_ledgers(desk: Opened):
    """Each tile names honest and champion, honest at the left."""
    tiles = desk.page.locator(".tile").all()
    assert len(tiles) == 8
    for tile in tiles:
        assert re.search(r"honest.*champion", tile.inner_text(), re.DOTALL)


def test_the_page_is_named_and_reachable_by_keyboard(desk: Opened):
    """Charts carry a label, tables a name, sections a heading; Tab reaches the skip link and a visible focus."""
    page = desk.page
    assert page.evaluate("[...document.querySelectorAll('.chart')].every(e => e.getAttribute('aria-label').length > 10)")
    assert page.evaluate("[...document.querySelectorAll('section')].every(s => document.getElementById(s.getAttribute('aria-labelledby')))")
    assert page.evaluate("[...document.querySelectorAll('select, input')].every(e => e.labels.length === 1)")
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(chromium: Any, month_folder: Path, scheme: str):
    """At least 4.5 : 1 for every text colour on the ground it stands on."""
    with opened(chromium, month_folder / "report.html", scheme=scheme) as seen:
        seen.page.wait_for_selector(READY, state="attached")
        assert min(seen.page.evaluate(CONTRAST)) >= 4.5


def test_the_theme_can_be_switched(desk: Opened):
    """The button turns the page dark and back, charts included."""
    page = desk.page
    ground = "getComputedStyle(document.body).backgroundColor"
    picture = "document.querySelector('#equity canvas').toDataURL()"
    before, chart = page.evaluate(ground), page.evaluate(picture)
    page.click("#theme")
    assert until(page, "document.documentElement.dataset.theme === 'dark'")
    assert page.evaluate(ground) != before
    assert page.evaluate(picture) != chart
    page.click("#theme")
    assert page.evaluate(ground) == before


def test_choosing_an_asset_draws_its_price(desk: Opened, month: Run):
    """The selector lists every traded asset, most traded first, and the chart follows it."""
    page = desk.page
    names = page.evaluate("[...document.querySelectorAll('#asset option')].map(o => o.value)")
    assert sorted(names) == sorted(month.summary["by_asset"])
    counts = [month.summary["by_asset"][name]["trades"] for name in names]
    assert counts == sorted(counts, reverse=True)
    picture = "document.querySelector('#price-card canvas').toDataURL()"
    before = page.evaluate(picture)
    page.select_option("#asset", names[-1])
    assert until(page, f"{picture} !== {before!r}")
    assert names[-1] in page.get_attribute("#price-card .chart", "aria-label")
    page.click("text=\u2190")
    assert page.input_value("#asset") == names[-2]


def test_the_trades_table_sorts_filters_and_turns_pages(desk: Opened, month: Run):
    """Twenty-five rows a page; sorting by honest return up and down; filters by asset, exit and outcome; all fields on demand."""
    page, rows = desk.page, desk.page.locator("#trades tbody tr")
    head = "#trades thead [data-key='honest_bps']"
    column = "[...document.querySelectorAll('#trades tbody tr')].map(r => parseFloat(r.cells[9].textContent.replace('\u2212', '-')))"
    best = sorted((100_00 * month.trades["honest_ret"]).round(1).tolist(), reverse=True)
    assert rows.count() == 25
    page.click(head)
    assert page.evaluate(column) == pytest.approx(best[:25], abs=0.11)
    assert page.get_attribute("#trades th:has([data-key='honest_bps'])", "aria-sort") == "descending"
    page.keyboard.press("Enter")
    assert page.evaluate(column) == pytest.approx(best[::-1][:25], abs=0.11)
    page.click("#trade-list .pager >> text=Next")
    assert page.evaluate(column) == pytest.approx(best[::-1][25:50], abs=0.11)
    asset = next(iter(month.summary["by_asset"]))
    page.select_option("#trades-asset", asset)
    shown = page.evaluate("[...document.querySelectorAll('#trades tbody tr')].map(r => r.cells[3].textContent)")
    assert set(shown) == {asset}
    assert len(shown) == month.summary["by_asset"][asset]["trades"]
    page.select_option("#trades-asset", "")
    page.select_option("#trades-reason", "FIXED_TP")
    assert f"of {month.summary['by_reason']['FIXED_TP']['trades']}" in page.inner_text("#trade-list .pager")
    page.select_option("#trades-reason", "")
    page.select_option("#trades-outcome", "flip")
    flipped = int(((month.trades["net_pnl"] > 0) & (month.trades["honest_ret"] <= 0)).sum())
    assert f"of {flipped}" in page.inner_text("#trade-list .pager")
    page.select_option("#trades-outcome", "")
    few = page.locator("#trades th").count()
    page.check("#trades-wide")
    assert page.locator("#trades th").count() > few
    page.uncheck("#trades-wide")


def test_the_daily_table_sorts(desk: Opened, month: Run):
    """By date at first, then by honest return."""
    page = desk.page
    dates = "[...document.querySelectorAll('#daily tbody tr')].map(r => r.cells[0].textContent)"
    assert page.evaluate(dates) == month.summary["days"]
    page.click("#daily [data-key='honest_return']")
    ranked = sorted(month.summary["detail"]["daily"], key=lambda d: -d["honest"]["return"])
    assert page.evaluate(dates) == [d["date"] for d in ranked]


def test_a_trade_leads_to_the_chart_and_all_charts_zoom_together(desk: Opened, month: Run):
    """A click on a trade's number picks its asset and zooms; equity, price and signal charts show the same span; Escape undoes it."""
    page = desk.page
    asset = str(month.trades["asset"][0])
    page.click("#trades [data-key='trade_id']")
    if page.get_attribute("#trades th:has([data-key='trade_id'])", "aria-sort") == "descending":
        page.click("#trades [data-key='trade_id']")
    page.click("[aria-label='Show trade 0 on the price chart']")
    spans = "charts.filter(c => c.timed).map(c => c.plot.getOption().dataZoom.map(z => [z.start, z.end])).flat()"
    assert until(page, f"(s => s.length >= 3 && s.every(z => Math.abs(z[0] - s[0][0]) < 1e-6 && z[1] - z[0] < 5))({spans})")
    assert page.input_value("#asset") == asset
    assert page.is_visible("#zoom")
    page.focus("#equity .chart")
    page.keyboard.press("Escape")
    assert until(page, "document.getElementById('zoom').hidden")


def test_the_measure_changes_the_bars(desk: Opened):
    """Profit, mean, win rate and count share the charts of the returns section."""
    pictures = []
    for name in ("pnl", "mean_bps", "win_rate", "trades"):
        desk.page.select_option("#measure", name)
        pictures.append(desk.page.evaluate("[...document.querySelectorAll('#returns canvas')].map(c => c.toDataURL()).join()"))
    assert len(set(pictures)) == 4
    assert desk.complaints == []


def test_it_prints_on_paper(desk: Opened, tmp_path: Path):
    """Controls are left out and the pages are not empty."""
    desk.page.emulate_media(media="print")
    assert not desk.page.is_visible(".top")
    desk.page.emulate_media(media="screen")
    desk.page.pdf(path=str(tmp_path / "report.pdf"), format="A4")
    assert (tmp_path / "report.pdf").stat().st_size > 100_000


@pytest.mark.parametrize("case", ["no trades", "one trade", "both sides", "no shares", "no bars"])
def test_small_runs_are_shown_without_complaint(chromium: Any, tmp_path: Path, case: str):
    """No trade, one trade, both sides, a table without shares, no bar at all: a page each, and both ledgers on it."""
    bars = fake.market(days=1, assets=4)
    trades = fake.trades(bars, direction=1 if case == "both sides" else -1)[0]
    if case == "both sides":
        shorts = [t for t in fake.trades(bars)[0] if t["exit_bar"] < trades[5]["entry_bar"]]
        trades = [*shorts, *trades[5:]]
    if case == "no shares":
        bars = fake.Bars(ts_ms=bars.ts_ms, names=bars.names, closes=bars.closes, vel_div=bars.vel_div)
    if case == "no bars":
        bars = fake.Bars(ts_ms=bars.ts_ms[:0], names=bars.names, closes=bars.closes[:0], vel_div=bars.vel_div[:0])
    kept = {"no trades": [], "no bars": [], "one trade": trades[:1]}.get(case, trades)
    write_run(tmp_path, build_run(fake.context(bars), kept, bars), fake.publish)
    with opened(chromium, tmp_path / "report.html") as seen:
        page = settled(seen, tmp_path / "report.html").page
        assert page.locator(".tile").count() == 8
        assert ("No trade was made" in page.inner_text("main")) == (not kept)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_injected_markup_is_shown_as_text(chromium: Any, tmp_path: Path):
    """Names from data that look like markup appear literally and run nothing, tooltips included."""
    evil = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
    bars = fake.market(days=1, assets=3)
    bars = fake.Bars(ts_ms=bars.ts_ms, names=(evil, "B", "C"), closes=bars.closes, vel_div=bars.vel_div, shares=bars.shares)
    trades = [{**t, "reason": evil, "posture": evil} for t in fake.trades(bars)[0]]
    context = fake.context(bars, flags=[evil], git=evil, acb_mode=evil, refusals={evil: 5}, skipped_days=[{"date": evil, "why": evil}])
    write_run(tmp_path, build_run(context, trades, bars), fake.publish)
    with opened(chromium, tmp_path / "report.html") as seen:
        page = settled(seen, tmp_path / "report.html").page
        for box in page.locator("#returns .chart").all():
            box.scroll_into_view_if_needed()
            for part in (0.2, 0.5, 0.8):
                size = box.bounding_box()
                page.mouse.move(size["x"] + size["width"] * 0.6, size["y"] + size["height"] * part)
                page.wait_for_timeout(30)
        assert page.title() != "owned"
        assert page.locator("img").count() == 0
        assert evil in page.inner_text(".badges")
        assert seen.complaints == []
