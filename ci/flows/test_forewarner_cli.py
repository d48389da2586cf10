"""`dolphin forewarner` on the synthetic market: train, assess, report, and the page in a browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import browser
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed; the forewarner extra brings it")


def dolphin(*arguments, cwd):
    command = [sys.executable, "-m", "flows.cli", "forewarner", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False, env=os.environ)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder whose dolphin.toml asks for a small synthetic market, with a table trained on it."""
    folder = tmp_path_factory.mktemp("forewarner")
    (folder / "dolphin.toml").write_text("[synthetic]\nassets = 12\ndays = 8\nbar_seconds = 120\n")
    done = dolphin("train", "--trials", 512, "--path-days", 20, "--block-days", 2, "--jobs", 1, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr[-800:]
    told = json.loads(done.stdout)
    assert (told["schema"], told["trials"], told["days"]) == ("dolphin.forewarner-train/1", 512, 8)
    assert {"brier", "brier_own_rate", "beats"} <= set(told["tests"]["later"])
    return folder


def test_assess_says_status_probability_and_score(home):
    """For people and programs; exit 1 on RED and only then; the boost multiplies leverage."""
    done = dolphin("assess", "--json", cwd=home)
    told = json.loads(done.stdout)
    assert told["schema"] == "dolphin.forewarner-assess/1"
    assert done.returncode == (told["mc_status"] == "RED")
    assert 0 <= told["catastrophic_probability"] <= 1
    boosted = json.loads(dolphin("assess", "--json", "--boost", 1.6, cwd=home).stdout)
    assert boosted["settings"]["max_leverage"] == pytest.approx(8.0)
    assert boosted["catastrophic_probability"] >= told["catastrophic_probability"]
    text = dolphin("assess", cwd=home).stdout
    assert text.startswith(f"{told['mc_status']}: probability of a catastrophe")


def test_assess_takes_the_condition_of_the_day_that_is_asked_for(home):
    """--day with the folder of day tables; without a folder the day cannot be found, and that is said."""
    from dolphin.config import load
    from flows.scans import cached_scan
    from flows.synth import cached_market

    settings = load(home / "dolphin.toml", os.environ).settings
    from dolphin.storage.klines import KlineStore

    folder, _ = cached_scan(KlineStore(cached_market(settings, quiet)), settings, "", "", track=quiet)
    told = json.loads(dolphin("assess", "--json", "--data", folder, "--day", "2025-01-03", cwd=home).stdout)
    assert told["condition_date"] == "2025-01-03"
    assert all(value is not None for value in told["condition"].values())
    refused = dolphin("assess", "--day", "2025-01-03", cwd=home)
    assert (refused.returncode, "say with --klines or --data" in refused.stderr) == (2, True)


def quiet(items, total, label):
    return items


def test_a_table_that_is_not_there_or_not_ours_is_one_line(home):
    """Exit 3 names the file; another base configuration exits 2."""
    absent = dolphin("assess", "--table", "no.parquet", cwd=home)
    assert (absent.returncode, absent.stderr.count("\n")) == (3, 1)
    assert "no.parquet" in absent.stderr
    other = dolphin("assess", "--set", "stop_loss_pct=0.5", cwd=home)
    assert other.returncode == 2
    assert "stop_loss_pct = 0.5, the trials had 1.0" in other.stderr


def test_the_report_is_one_self_contained_page_the_same_twice(home):
    """Written beside the table; its verdict is the one on the terminal; two runs give the same bytes."""
    done = dolphin("report", cwd=home)
    assert done.returncode == 0, done.stderr[-800:]
    page = home / "data" / "forewarner" / "calibration.html"
    first = page.read_bytes()
    assert done.stdout.splitlines()[-1] == "report: data/forewarner/calibration.html"
    told = json.loads(dolphin("report", "--json", cwd=home).stdout)
    assert told["verdict"] == done.stdout.splitlines()[0]
    assert page.read_bytes() == first
    assert told["verdict"].encode() in first
    assert b"src=" not in first.split(b"<script>")[0]


@pytest.mark.browser
def test_the_page_draws_in_a_browser_without_network_or_complaint(home):
    """Charts, every section, no id twice, both themes, narrow and wide."""
    page = home / "data" / "forewarner" / "calibration.html"
    assert page.exists() or dolphin("report", cwd=home).returncode == 0
    with browser.launched() as running:
        for width, scheme in ((1280, "light"), (390, "dark")):
            with browser.opened(running, page, width=width, scheme=scheme) as seen:
                seen.page.wait_for_selector("html[data-ready=yes]")
                assert seen.page.locator("canvas").count() >= 2
                assert seen.page.locator("section.block").count() == 5
                assert seen.page.locator("#gate-table tbody tr").count() == 3
                assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                assert seen.page.evaluate(
                    "[...document.querySelectorAll('[id]')].map((n) => n.id).every((x, k, all) => all.indexOf(x) === k)"
                )
                assert seen.complaints == []
                assert [url for url in seen.requests if not url.startswith(("file:", "data:"))] == []
