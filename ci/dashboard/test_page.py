"""The page in a real browser: silent, live, honest about a lost server, usable on a phone and by keyboard; the kill switch end to end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser import Opened, visited
from dashboard_stage import SECRET, Served, Stage, wait_until

from dolphin.storage.kill_switch import KillSwitch

pytestmark = pytest.mark.browser

Serve = Callable[..., Served]
EVIL = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
PICTURES = os.environ.get("DOLPHIN_SCREENSHOTS", "")
"""Folder for screenshots to look at; without it they go to the test's own."""
CONTRAST = """() => {
  const linear = x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4;
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => .2126 * linear(r / 255) + .7152 * linear(g / 255) + .0722 * linear(b / 255);
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > .99) return c; } return [255, 255, 255]; };
  const worst = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest("button:disabled, .skip")) continue;
    const a = light(parse(getComputedStyle(e).color)), b = light(ground(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) worst.push([ratio.toFixed(2), e.className, e.textContent.slice(0, 40)]);
  }
  return worst;
}"""


def told(seen: Opened, selector: str, text: str, seconds: float = 12.0) -> None:
    """Wait until the element says it; asked from outside, for the page's policy forbids ``eval``."""
    page = seen.page
    for _ in range(int(seconds / 0.1)):
        if text in page.locator(selector).inner_text():
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{selector} says {page.locator(selector).inner_text()[:300]!r}, not {text!r}")


def live(seen: Opened) -> Opened:
    told(seen, "#link", "live")
    seen.page.wait_for_selector("#posture .big")
    return seen


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_the_page_is_silent_whole_and_readable(serve: Serve, chromium: Any, tmp_path: Path, width: int, scheme: str):
    """No complaint, no foreign request, no sideways scroll, contrast of every text, nothing under 10 px; a picture to look at."""
    served = serve()
    with visited(chromium, served.url, width, 844 if width < 500 else 900, scheme) as seen:
        page = live(seen).page
        page.wait_for_timeout(1500)
        assert seen.complaints == []
        assert {url.split("/")[2] for url in seen.requests} == {f"127.0.0.1:{served.port}"}
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(
            "[...document.querySelectorAll('.card, .concerns li')].every(e => e.getBoundingClientRect().right <= innerWidth)"
        )
        assert page.evaluate(CONTRAST) == []
        sizes = page.evaluate("[...document.querySelectorAll('main *')].map(e => parseFloat(getComputedStyle(e).fontSize))")
        assert min(sizes) >= 10
        folder = Path(PICTURES) if PICTURES else tmp_path
        page.screenshot(path=str(folder / f"dashboard_{width}_{scheme}.png"), full_page=True)
        assert (folder / f"dashboard_{width}_{scheme}.png").stat().st_size > 20_000


def test_the_first_screen_says_what_is_wrong_and_what_to_do(serve: Serve, chromium: Any):
    """On a phone, before any scrolling: the verdict, each concern with its command, the posture and the day."""
    served = serve()
    with visited(chromium, served.url, 390, 844) as seen:
        page = live(seen).page
        told(seen, "#verdict", "2 things need you now")
        told(seen, "#concerns", "Not up: no supervisor answers.")
        told(seen, "#concerns", "dolphin up")
        told(seen, "#facts", "STALKER")
        told(seen, "#facts", "BLUE SHORT SOLUSDT, +116.00 USDT today")
        assert page.evaluate("document.querySelector('#concerns li').getBoundingClientRect().bottom") < 844
        assert page.evaluate("document.querySelector('#kill-open').getBoundingClientRect().height") >= 40


def test_position_trades_and_posture_are_explained(serve: Serve, chromium: Any):
    """Entry, age, profit and distances of the open position; the day's trade in both ledgers; categories with their meaning."""
    with visited(chromium, serve().url) as seen:
        live(seen)
        for text in (
            "SHORT SOLUSDT",
            "9 of 120 bars",
            "+145.00 USDT (+2.90 %)",
            "no stop loss is set",
            "25,116.00",
            "25,040.00",
            "25,048.00",
        ):
            told(seen, "#lanes", text)
        for text in ("1 trade", "+40.00", "+48.00", "take profit reached"):
            told(seen, "#trades", text)
        for text in (
            "recovering towards 0.970",
            "What would lift it",
            "Rm is high enough for APEX",
            "forewarner: its verdict",
            "Rm 0.800, target 0.970",
        ):
            told(seen, "#posture", text)
        for text in ("3, every 60 s; all have a price", "none since", "1 member", "boost 1.2"):
            told(seen, "#feed", text)
        told(seen, "#refused", "vel_div did not cross the threshold")


def test_the_page_follows_a_new_posture_within_two_seconds(serve: Serve, chromium: Any):
    """Posture, verdict and title change by themselves; what was opened stays open."""
    served = serve()
    with visited(chromium, served.url) as seen:
        page = live(seen).page
        page.click("#posture-history summary")
        served.stage.say_posture("HIBERNATE", "grid: 0 members, heartbeat 40 s old", cat1=0.0, target=0.0)
        told(seen, "#posture .big", "HIBERNATE", 3.0)
        told(seen, "#concerns", "HIBERNATE: positions are closed")
        assert "HIBERNATE" in page.title()
        assert page.evaluate("document.getElementById('posture-history').open")
        told(seen, "#posture-history", "grid: 0 members")
        assert seen.complaints == []


def test_ages_go_on_and_turn_to_warnings(serve: Serve, chromium: Any):
    """A record that nobody renews is marked when its time is over, without any news from the server."""
    served = serve()
    served.stage.beat("paper", 4711)
    with visited(chromium, served.url) as seen:
        page = live(seen).page
        first = page.locator("#feed tr:has-text('ob_macro') .age").inner_text()
        wait_until(lambda: page.wait_for_timeout(100) or page.locator("#feed tr:has-text('ob_macro') .age").inner_text() != first)
        told(seen, "#feed tr:has-text('ob_macro')", "STALE")
        assert page.locator("#feed tr:has-text('ob_macro') .age.old").count() == 1
        told(seen, "#concerns", "The feed is late")


def test_a_lost_server_is_said_loudly_and_found_again(serve: Serve, chromium: Any):
    """The banner with the time of the last news, the page greyed; when a server is back on the port, it is live again."""
    served = serve()
    with visited(chromium, served.url) as seen:
        page = live(seen).page
        served.close()
        told(seen, "#lost", "CONNECTION LOST, as of ", 8.0)
        banner = page.locator("#lost").inner_text()
        assert banner.count(":") == 2
        assert "UTC. Nothing below is current" in banner
        assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('main')).opacity)") < 0.6
        told(seen, "#link", "connection lost")
        ages = page.locator("#posture .age").first.inner_text()
        page.wait_for_timeout(1500)
        assert page.locator("#posture .age").first.inner_text() == ages
        assert page.evaluate("document.querySelector('#lost').getBoundingClientRect().top") >= 0
        again = Served(Stage(served.stage.root.parent / "again").well(), port=served.port)
        try:
            told(seen, "#link", "live", 15.0)
            assert not page.is_visible("#lost")
        finally:
            again.close()


def test_a_lost_grid_is_said_by_the_server(serve: Serve, chromium: Any):
    """The page is connected, the server is not: posture and features are no longer called fresh."""
    served = serve()
    with visited(chromium, served.url) as seen:
        live(seen)
        served.stage.grid.away = True
        told(seen, "#concerns", "The grid does not answer this page.")
        told(seen, "#feed", "NOT CONNECTED")
        told(seen, "#link", "live")


def test_the_kill_switch_from_the_page(serve: Serve, chromium: Any):
    """By keyboard: a wrong token is refused and said, Escape leaves, the right token engages; the page shows it and offers no release."""
    served = serve()
    switch = KillSwitch(served.stage.state.kill)
    with visited(chromium, served.url, 390, 844) as seen:
        page = live(seen).page
        page.focus("#kill-open")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "kill-reason"
        page.keyboard.press("Enter")
        told(seen, "#kill-answer", "A reason and the token are needed")
        page.keyboard.type("spreads look wrong")
        page.fill("#kill-token", "0000-0000-0000-0000")
        page.click("#kill-go")
        told(seen, "#kill-answer", "NOT engaged: wrong token")
        assert switch.engaged() is False
        page.keyboard.press("Escape")
        assert not page.evaluate("document.getElementById('kill').open")
        page.click("#kill-open")
        page.fill("#kill-token", served.token.text)
        page.click("#kill-go")
        wait_until(lambda: page.wait_for_timeout(50) or switch.engaged() is True)
        told(seen, "#concerns", "Kill switch ENGAGED by")
        told(seen, "#concerns", "spreads look wrong (from the dashboard)")
        told(seen, "#kill-open", "Killed")
        assert page.is_disabled("#kill-open")
        assert page.locator("button:has-text('elease')").count() == 0
        assert [text for text in seen.complaints if "403" not in text] == []


def test_the_token_comes_in_the_address_and_leaves_it(serve: Serve, chromium: Any):
    """The printed link fills the token in; it stays neither in the address nor in what the server was asked."""
    served = serve()
    with visited(chromium, f"{served.url}/#{served.token.text}") as seen:
        page = live(seen).page
        assert page.input_value("#kill-token") == served.token.text
        assert page.url == f"{served.url}/"
        assert all(served.token.text not in url for url in seen.requests[1:])


def test_a_page_without_kill_switch_offers_none(serve: Serve, chromium: Any):
    """--no-kill."""
    with visited(chromium, serve(offer_kill=False).url) as seen:
        assert not live(seen).page.is_visible("#kill-open")


def test_hostile_text_stays_text(serve: Serve, chromium: Any):
    """Markup in reasons, blocks, symbols, logs, alerts and the kill order is shown as it is and runs nothing; secrets are not shown."""
    served = serve()
    stage = served.stage
    stage.say_posture("TURTLE", EVIL)
    stage.bar(refusals=[EVIL], told={"blocks": [EVIL]}, posture=EVIL, entry=stage.entry(EVIL))
    stage.trade(asset=EVIL, reason=EVIL)
    line = json.dumps({"level": "ERROR", "message": EVIL, "logger": "dolphin"})
    stage.log("trader", EVIL, f"password={SECRET}", line)
    stage.log("supervisor_events", f"2026-01-02 11:59:03,000 CRITICAL crash_loop trader: {EVIL}")
    stage.beat(EVIL.replace(":", ""), 77, EVIL)
    stage.state.kill.write_text(json.dumps({"reason": EVIL, "by": EVIL, "ts_ms": 5}))
    with visited(chromium, served.url) as seen:
        page = live(seen).page
        for selector in ("#posture", "#lanes", "#trades", "#refused", "#alerts", "#log", "#concerns", "#processes"):
            told(seen, selector, "<img src=x onerror")
        assert page.locator("img").count() == 0
        assert page.locator("body script").count() == 0
        assert "owned" not in page.title()
        assert SECRET not in page.content()
        assert seen.complaints == []


def test_absurd_numbers_and_times_leave_the_page_alive(serve: Serve, chromium: Any):
    """Stamps beyond any calendar, prices and equities at the end of the scale, empty words: every part is drawn."""
    served = serve()
    stage, endless = served.stage, 2**62
    stage.bar(1e300, peak=1e-300, entry=stage.entry(price=1e-300, entry_ts=endless, notional=1e300))
    stage.trade(exit_ts=endless, entry_ts=-endless, bars_held=-5, honest_ret=1e200)
    stage.say_lane(equity=-1e308, peak=1e308)
    alert = {"kind": "", "severity": "?", "key": "", "text": "", "ts_ms": endless, "service": ""}
    stage.log("trader", json.dumps({"level": "ERROR", "message": "", "logger": "", "time": "9999-99-99", "alert": alert}))
    stage.state.kill.write_text(json.dumps({"reason": "", "by": "", "ts_ms": endless}))
    stage.beat("x", endless)
    with visited(chromium, served.url, 390, 844) as seen:
        page = live(seen).page
        told(seen, "#alerts", "??:??:?? UTC")
        told(seen, "#lanes", "25,048.00")
        page.wait_for_timeout(1200)
        assert "cannot be drawn" not in page.inner_text("body")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert seen.complaints == []


def test_an_empty_deployment_has_a_page_too(serve: Serve, chromium: Any):
    """Nothing was ever started: unknown everywhere, no complaint."""
    with visited(chromium, serve(empty=True).url, 390, 844) as seen:
        live(seen)
        told(seen, "#posture", "nothing was published")
        told(seen, "#lanes", "no equity curve yet")
        told(seen, "#lanes", "unknown")
        told(seen, "#feed", "nothing was written yet")
        assert seen.complaints == []


def test_the_log_can_be_chosen(serve: Serve, chromium: Any):
    """Our own lines at first, warnings, or everything."""
    served = serve()
    served.stage.log("grid", "INFO: [127.0.0.1]:5701 routine")
    served.stage.log("supervisor", "2026-01-02 11:59:03,000 INFO spawned", "2026-01-02 11:59:04,000 WARNING odd")
    with visited(chromium, served.url) as seen:
        page = live(seen).page
        told(seen, "#log", "spawned")
        assert "routine" not in page.inner_text("#log")
        page.select_option("#log-kind", "loud")
        assert ("odd" in page.inner_text("#log"), "spawned" in page.inner_text("#log")) == (True, False)
        page.select_option("#log-kind", "all")
        assert "routine" in page.inner_text("#log")


def test_the_page_is_reachable_by_keyboard_and_named(serve: Serve, chromium: Any):
    """Tab reaches the skip link first, with a visible focus; every region, picture and input has a name."""
    with visited(chromium, serve().url) as seen:
        page = live(seen).page
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        boxes = "[...document.querySelectorAll('[role=img], [role=region], section')]"
        assert page.evaluate(f"{boxes}.every(e => e.getAttribute('aria-label') || e.getAttribute('aria-labelledby'))")
        assert page.evaluate("[...document.querySelectorAll('select, input')].every(e => e.labels.length === 1)")
