"""Log lines on the page: followed, redacted, told apart, and never more than lines."""

from __future__ import annotations

import pytest
from dashboard_stage import SECRET, Stage

from flows.dashboard.follow import cleaner

EVIL = "<img src=x onerror=alert(1)>\x1b[31m\u202e"


def test_logs_are_followed_redacted_and_told_apart(stage: Stage):
    """JSON of our processes, the supervisor's text, the grid's Java; alerts among them; secrets are gone; rotation is followed."""
    line = '{{"time": "2026-01-02 11:59:0{n},000", "level": "{level}", "logger": "dolphin.trader", "message": "{text}"{more}}}'
    alert = ', "alert": {"kind": "stale_feed", "severity": "WARNING", "key": "LATE", "text": "late", "ts_ms": 7, "service": "trader:vm:9"}'
    stage.log("trader", line.format(n=1, level="INFO", text=f"key {SECRET} token=abcdef", more=""))
    stage.log("trader", line.format(n=2, level="WARNING", text="stale_feed LATE: late", more=alert))
    stage.log("supervisor_events", "2026-01-02 11:59:03,000 CRITICAL crash_loop trader: trader keeps crashing")
    stage.log("grid", "Jan 2, 2026 11:59:04 AM com.hazelcast.core", "INFO: [127.0.0.1]:5701 started")
    now = stage.read()
    assert [(shown.service, shown.level, shown.own) for shown in now.log] == [
        ("trader", "INFO", True), ("trader", "WARNING", True), ("supervisor_events", "CRITICAL", True), ("grid", "INFO", False),
    ]  # fmt: skip
    assert "abcdef" not in now.log[0].text
    assert SECRET not in now.log[0].text
    assert [(told.kind, told.key, told.severity) for told in now.alerts] == [
        ("crash_loop", "trader", "CRITICAL"),
        ("stale_feed", "LATE", "WARNING"),
    ]
    path = stage.state.logs / "trader.log"
    path.rename(path.with_suffix(".log.1"))
    stage.log("trader", line.format(n=5, level="ERROR", text="after the rotation", more=""))
    assert stage.read().log[-1].text == "after the rotation"
    assert sum(shown.text == "after the rotation" for shown in stage.read().log) == 1


@pytest.mark.parametrize(
    "line", ["{", "{}", "[1]", '{"message": 5}', '{"alert": {"kind": 1}}', "\x00\x01", "<b>x</b>", "{" * 100_000, '{"a":' * 5_000]
)
def test_any_line_of_a_log_is_only_a_line(stage: Stage, line: str):
    """Nothing that a process writes stops the page."""
    stage.log("trader", line, "the next one")
    shown = stage.read().log
    assert "the next one" in [found.text for found in shown]
    assert all(len(found.text) <= 400 for found in shown)


def test_a_flood_in_a_log_is_skipped(stage: Stage):
    """Twenty megabytes at once: the newest lines, little memory, and the page goes on."""
    stage.log("trader", "first")
    stage.read()
    stage.log("trader", *["x" * 100] * 200_000, "last")
    shown = stage.read().log
    assert shown[-1].text == "last"
    assert len(shown) <= 200


def test_foreign_text_is_one_clean_line():
    """Control characters, escapes, bidirectional marks and endless text."""
    clean = cleaner(str)
    assert clean("a\x00b\nc\u202ed") == "a b c d"
    assert clean("\ud800") == "?"
    assert len(clean("y" * 1_000_000)) == 400
