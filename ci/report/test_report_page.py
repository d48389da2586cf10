"""The page's data and markup: thin but true, escaped, self-contained."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report import fake

from dolphin.report import Run, render_html
from dolphin.report.decimate import decimate, rounded
from dolphin.report.page import MAX_POINTS, page_data

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\u2028'\"$verdict"


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 3000), k=st.integers(1, 3), limit=st.integers(20, 400), seed=st.integers(0, 99), holes=st.booleans())
def test_thinned_lines_keep_ends_and_extremes(n: int, k: int, limit: int, seed: int, holes: bool):
    """At most ``limit`` rising indices; first and last bar, lowest and highest value of every line among them."""
    rng = np.random.default_rng(seed)
    lines = rng.standard_t(2, (k, n))
    if holes:
        lines[rng.random((k, n)) < 0.3] = np.nan
    kept = decimate(lines, limit)
    assert len(kept) <= max(limit, 2)
    assert kept[0] == 0
    assert kept[-1] == n - 1
    assert np.all(np.diff(kept) > 0)
    for line in lines:
        if np.isfinite(line).any():
            assert np.nanmin(line[kept]) == np.nanmin(line)
            assert np.nanmax(line[kept]) == np.nanmax(line)


def test_a_long_hole_stays_a_hole():
    """A spell without values keeps at least one NaN in the thinned line."""
    line = np.sin(np.arange(20_000) / 50)
    line[7_000:7_100] = np.nan
    assert np.isnan(line[decimate(line[None, :], 1_000)]).any()


@settings(deadline=None)
@given(value=st.floats(min_value=1e-9, max_value=1e12), sign=st.sampled_from([-1, 1]))
def test_rounding_to_significant_digits_is_close_and_short(value: float, sign: int):
    """Six digits: relative error at most 5e-6, and what is not finite becomes None."""
    (result,) = rounded(np.array([sign * value]), significant=6)
    assert result == pytest.approx(sign * value, rel=5.1e-6)
    assert rounded(np.array([np.nan, np.inf, -0.0]), significant=6) == [None, None, 0.0]
    assert rounded(np.array([1.23456, np.nan]), digits=2) == [1.23, None]


def test_no_line_is_longer_than_the_screen_needs(month: Run):
    """Every series has at most 4,000 points, as many values as indices, and the indices end within the run."""
    data = page_data(month)
    lines = [data["equity"], data["exposure"], data["signal"], data["shares"], *data["prices"].values()]
    for item in lines:
        assert len(item["i"]) <= MAX_POINTS
        assert all(len(values) == len(item["i"]) for values in item.values())
        assert sum(item["i"]) < month.summary["bars"]
    assert len(data["prices"]) == len(month.bars.names)


def test_time_is_given_by_runs_of_bars(month: Run):
    """Three runs around two outages give back every time stamp."""
    time = page_data(month)["time"]
    begin = [i for i, _ in time["runs"]] + [time["bars"]]
    again = np.concatenate([ts + np.arange(b - a) * time["bar_ms"] for (a, ts), b in zip(time["runs"], begin[1:], strict=True)])
    assert len(time["runs"]) == 3
    assert np.array_equal(again, month.bars.ts_ms)


def test_a_price_line_is_complete_around_a_trade(month: Run):
    """From 60 bars before the entry to 60 after the exit, when the asset has few trades."""
    asset = min(month.summary["by_asset"], key=lambda name: month.summary["by_asset"][name]["trades"])
    kept = set(np.cumsum(page_data(month)["prices"][asset]["i"]).tolist())
    row = list(month.trades["asset"]).index(asset)
    entered, left = int(month.trades["entry_bar"][row]), int(month.trades["exit_bar"][row])
    assert set(range(entered - 60, left + 61)) <= kept


def test_the_page_of_a_month_is_small(month_folder: Path):
    """At most 3 MB with library, style and data."""
    assert (month_folder / "report.html").stat().st_size < 3_000_000


def test_the_page_asks_for_nothing_from_outside(run: Run):
    """No link, import or source beside data:, no address beyond names of namespaces and licences; the policy forbids the rest."""
    page = render_html(run)
    frame = re.sub(r"(?s)<script.*?</script>", "", page)
    assert not re.search(r'(?:src|href)="(?!#|data:)', frame)
    assert not re.search(r"url\(|@import", frame)
    hosts = set(re.findall(r"https?://([a-z0-9.-]+)", page))
    assert hosts <= {"www.w3.org", "www.apache.org", "github.com"}
    assert "default-src &#x27;none&#x27;" in page


def test_the_policy_allows_exactly_the_scripts_of_the_package(run: Run):
    """Every script block is data or has its hash in the policy."""
    page = render_html(run)
    allowed = set(re.findall(r"sha256-([A-Za-z0-9+/=]+)", page.split("</head>")[0]))
    scripts = re.findall(r"(?s)<script>(.*?)</script>", page)
    assert {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts} == allowed
    assert len(re.findall(r"<script", page.split("<body>")[1])) == len(scripts) + 1


def test_data_cannot_become_markup():
    """Script and markup in the profile, a file name, a flag, a reason to skip and the git mark stay text."""
    changes = {
        "git": EVIL,
        "version": EVIL,
        "config_hash": EVIL,
        "acb_mode": EVIL,
        "flags": [EVIL],
        "universe": [EVIL],
        "refusals": {EVIL: 3},
    }
    run = fake.run(days=1, assets=4, data=[{"file": EVIL, "sha256": EVIL}], skipped_days=[{"date": EVIL, "why": EVIL}], **changes)
    page = render_html(run)
    assert "alert(1)</script>" not in page
    assert "<img" not in re.sub(r"(?s)<script>.*?</script>", "", page)
    (data,) = re.findall(r'(?s)<script type="application/json" id="data">(.*?)</script>', page)
    assert json.loads(data)["summary"]["git"] == EVIL
    assert "<" not in data


def test_the_bundled_library_is_the_one_described():
    """assets/README.md names version and hash of the file that is there, licence header kept."""
    assets = resources.files("dolphin.report") / "assets"
    library, words = (assets / "echarts.min.js").read_bytes(), (assets / "README.md").read_text()
    assert hashlib.sha256(library).hexdigest() in words
    assert b"Licensed to the Apache Software Foundation" in library[:200]
    version = re.search(rb'\.version="(\d+\.\d+\.\d+)"', library)
    assert version
    assert f"version {version[1].decode()}" in words
    assert b"</script" not in library
