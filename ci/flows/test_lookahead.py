"""The look-ahead check catches what it is for: leaks planted in each stage."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from builders import day

from dolphin import NDAlphaEngine, load_profile
from dolphin.config import Settings
from dolphin.scanner.scan import scan_batch
from dolphin.storage.klines import KlineStore
from flows.lookahead import check_day, engine_leaks, scan_leaks


def quiet(items, total, label):
    return items


def closes(bars=900, assets=14):
    return 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 1e-3, (bars, assets)), axis=0))


def test_a_clean_scan_and_engine_pass_at_every_bar():
    """No false alarm."""
    prices = closes()
    whole, leaks = scan_leaks(prices, np.arange(900), range(700, 900, 7), 700)
    assert not leaks
    assert np.isfinite(whole.vel_div).any()
    rows = day(seed=1, bars=500)
    trades, leaks = engine_leaks(load_profile(), rows, range(250, 500), 250)
    assert trades > 2
    assert not leaks


def test_a_centred_window_in_the_scanner_is_caught():
    """vel_div that averages one bar ahead changes when that bar is dropped."""

    def leaky(prices, **options):
        batch = scan_batch(prices, **options)
        ahead = np.append(batch.vel_div[1:], batch.vel_div[-1])
        return dataclasses.replace(batch, vel_div=(batch.vel_div + ahead) / 2)

    _, leaks = scan_leaks(closes(), np.arange(900), range(800, 890, 30), 700, scan=leaky)
    assert {leak.column for leak in leaks} == {"vel_div"}
    assert {leak.row for leak in leaks} == {100, 130, 160}


def test_a_normalisation_by_the_whole_day_is_caught():
    """A value divided by a statistic of the whole sample is a leak on every row."""

    def leaky(prices, **options):
        batch = scan_batch(prices, **options)
        return dataclasses.replace(batch, lambda_max=batch.lambda_max / np.nanstd(batch.lambda_max))

    _, leaks = scan_leaks(closes(), np.arange(900), [850], 700, scan=leaky)
    assert len(leaks) > 100


class Peeking(NDAlphaEngine):
    """Knows the next price: enters only where it will fall."""

    def process_rows(self, date, rows, *args, **options):
        falls = np.append(rows.closes[1:, 0] < rows.closes[:-1, 0], True)
        return super().process_rows(date, dataclasses.replace(rows, vel_div=np.where(falls, rows.vel_div, np.nan)), *args, **options)


def test_an_engine_that_knows_the_next_price_is_caught():
    """A decision that depends on the next row changes when that row is dropped."""
    rows = day(seed=1, bars=500)
    _, leaks = engine_leaks(load_profile(max_hold_bars=5, use_direction_confirm=False), rows, range(250, 500), 250, make=Peeking)
    assert leaks


def test_a_kline_filter_that_waits_for_the_future_is_caught(tmp_path, monkeypatch):
    """A spike filter that looks one bar ahead shows in the klines stage."""
    from dolphin.config import SyntheticConfig
    from flows.synth import write_market

    write_market(SyntheticConfig(assets=12, days=2), tmp_path, quiet)
    store = KlineStore(tmp_path)
    assert not check_day(store, "", Settings(), every=200, track=quiet).leaks
    honest = KlineStore.load

    def leaky(self, *args, **options):
        found = honest(self, *args, **options)
        found.closes[:-1] = (found.closes[:-1] + found.closes[1:]) / 2
        return found

    monkeypatch.setattr(KlineStore, "load", leaky)
    verdict = check_day(store, "", Settings(), every=200, track=quiet)
    assert "klines" in {leak.stage for leak in verdict.leaks}
    assert "FAILED" in verdict.to_text()


@pytest.mark.real_data
def test_a_real_day_has_no_look_ahead(shared_data):
    """Every 60th bar of a real day, from klines on; the command checks every bar."""
    verdict = check_day(KlineStore(shared_data / "klines" / "spot_1m_2021-04"), "2021-04-05", Settings(), every=60, track=quiet)
    assert not verdict.leaks
    assert verdict.trades
