"""Trials: which settings, which days, what is kept of a run, and that an interruption changes nothing."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from forewarner import made_up

import dolphin.forewarner.trial as trial_module
from dolphin.config import EngineConfig, load
from dolphin.engine.nd import NDAlphaEngine
from dolphin.errors import ConfigError, QualityError
from dolphin.forewarner.condition import CONDITION, day_condition
from dolphin.forewarner.envelope import ENVELOPE, config_at, config_values, trial_values
from dolphin.forewarner.paths import draw_path, split_at
from dolphin.forewarner.trial import OUTCOMES, run_trial
from dolphin.report import Bars, mark_to_market
from dolphin.report.inputs import trade_columns
from dolphin.report.metrics import drawdown, figures


@pytest.fixture(scope="module")
def market():
    return made_up.market()


def test_every_point_is_a_configuration_inside_the_envelope():
    """Corners and random points alike: in range, extreme below threshold, accepted by the engine's settings."""
    corners = [np.array([float(bit) for bit in f"{k:08b}"]) for k in range(256)]
    for point in [*corners, *np.random.default_rng(0).random((500, 8))]:
        values = trial_values(np.minimum(point, np.nextafter(1.0, 0.0)))
        assert all(low <= values[name] <= high for name, (low, high) in ENVELOPE.items())
        assert values["short_extreme"] <= values["short_threshold"]
        if values["short_extreme"] < values["short_threshold"]:
            config = config_at(EngineConfig(), values, 3)
            assert (config.seed, config.max_hold_bars) == (3, values["max_hold_bars"])


def test_sobol_points_do_not_depend_on_where_a_part_begins():
    """Two parts are the sequence cut in two; the points fill the cube evenly."""
    pytest.importorskip("scipy", reason="scipy is not installed; the forewarner extra brings it")
    from dolphin.forewarner.envelope import sobol

    points = np.concatenate([sobol(7, first) for first in range(0, 1024, 64)])
    assert np.array_equal(points[64:128], sobol(7, 64))
    assert not np.array_equal(points[:64], sobol(8, 0))
    assert np.abs(np.quantile(points, [0.25, 0.5, 0.75], axis=0) - [[0.25], [0.5], [0.75]]).max() < 0.01


def test_settings_are_read_by_both_vocabularies_and_unknown_ones_refused():
    """The engine's names and the specification's; what trials did not vary is told; a typing error is named."""
    base = EngineConfig()
    values, lines = config_values({"fraction": 0.1, "fixed_tp_pct": 0.01, "stop_loss_pct": 0.5}, base)
    assert (values["max_fraction"], values["fixed_tp_pct"], values["convexity"]) == (0.1, 0.01, base.convexity)
    assert lines == ["stop_loss_pct = 0.5, the trials had 1.0"]
    with pytest.raises(ConfigError, match=r"fractoin = 0.1: no such engine setting; did you mean fraction\?"):
        config_values({"fractoin": 0.1}, base)
    with pytest.raises(ConfigError, match="max_leverage = 'much': expected a number"):
        config_values({"max_leverage": "much"}, base)


def test_paths_stay_in_their_pool_start_after_a_known_day_and_keep_blocks():
    """Every third trial is late; block lengths are geometric with the asked mean; nothing depends on other trials."""
    days, split, joins, steps = 30, split_at(30), 0, 0
    assert split == 20
    for k in range(600):
        path = draw_path(7, k, days, 30, 5.0)
        low, high = (split, days) if k % 3 == 2 else (0, split)
        assert path.pool == (k % 3 == 2)
        assert path.days[0] >= 1
        assert ((path.days >= low) & (path.days < high)).all()
        breaks = np.diff(path.days) != 1
        joins, steps = joins + int(breaks.sum()), steps + len(breaks)
    assert 4.0 < steps / joins < 5.6
    assert np.array_equal(draw_path(7, 5, days, 30, 5.0).days, draw_path(7, 5, days, 30, 5.0).days)
    assert not np.array_equal(draw_path(7, 5, days, 30, 5.0).days, draw_path(8, 5, days, 30, 5.0).days)
    assert [split_at(n) for n in (4, 6, 10)] == [3, 4, 7]


@pytest.mark.parametrize("direction", [-1, 1])
def test_outcomes_are_those_of_the_report(market, direction):
    """ROI, drawdown marked at every bar and profit factor of both ledgers equal what dolphin.report says of the same days."""
    config = EngineConfig(max_fraction=0.4, max_leverage=10.0, max_hold_bars=90, fixed_tp_pct=0.03)
    got = dict(zip(OUTCOMES, run_trial(market, config, np.arange(6), direction), strict=True))
    engine = NDAlphaEngine(config)
    for date, rows in zip(market.dates, market.rows, strict=True):
        engine.process_rows(date, rows, direction=direction)
    engine.process_rows(market.dates[-1], market.rows[-1].head(0), posture="HIBERNATE")
    columns = trade_columns(engine.trades)
    bars = Bars(
        ts_ms=np.concatenate([rows.ts_ms for rows in market.rows]),
        names=market.assets,
        closes=np.concatenate([rows.closes for rows in market.rows]),
        vel_div=np.concatenate([rows.vel_div for rows in market.rows]),
        shares=None,
    )
    curves, day = mark_to_market(columns, bars, config), np.repeat(np.arange(6), 500)
    assert got["trades"] == len(engine.trades) > 20
    for ledger, equity in (("honest", curves.honest), ("champion", curves.champion)):
        want = figures(columns, ledger, equity, day, config.start_capital)
        assert got[f"{ledger}_roi"] == pytest.approx(want["roi"], rel=1e-12)
        assert got[f"{ledger}_profit_factor"] == pytest.approx(want["profit_factor"], rel=1e-9)
        assert got[f"{ledger}_max_drawdown"] == pytest.approx(drawdown(equity, config.start_capital).max(), rel=1e-12)


def test_no_trade_spans_a_join(market, monkeypatch):
    """Days out of order: each trade leaves in the block in which it entered, and the last position is closed."""
    engines = []

    def kept(config):
        engines.append(NDAlphaEngine(config))
        return engines[-1]

    monkeypatch.setattr(trial_module, "NDAlphaEngine", kept)
    run_trial(market, EngineConfig(max_hold_bars=360, fixed_tp_pct=0.03), np.array([4, 5, 0, 1, 1, 3]))
    blocks = np.repeat([0, 0, 1, 1, 2, 3], 500)
    spans = [(blocks[t["entry_bar"]], blocks[t["exit_bar"] - 1]) for t in engines[0].trades]
    assert all(a == b for a, b in spans)
    assert sum(t["reason"] == "HIBERNATE_HALT" for t in engines[0].trades) >= 2
    assert engines[0].position is None


def test_a_trial_without_trades_has_neither_gain_nor_factor(market):
    """Nothing entered: ROI 0, drawdown 0, no profit factor."""
    outcome = run_trial(market, EngineConfig(short_threshold=-9.0, short_extreme=-9.5), np.arange(3))
    assert np.array_equal(outcome, [0, 0, np.nan, 0, 0, np.nan, 0], equal_nan=True)


def test_a_day_s_condition_is_the_median_of_what_is_finite():
    """Signed and absolute figures; an absent column, or one without a value, is NaN."""
    signals = {"v750_lambda_max_velocity": np.array([-0.3, np.nan, 0.1, 0.2]), "instability_50": np.full(3, np.nan)}
    got = dict(zip(CONDITION, day_condition(signals), strict=True))
    assert got["drift_750"] == pytest.approx(0.1)
    assert got["velocity_750"] == pytest.approx(0.2)
    assert all(np.isnan(got[name]) for name in ("lambda_share_50", "velocity_50", "instability_50"))


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """Six small synthetic days as day tables."""
    from dolphin.storage.klines import KlineStore
    from flows.backtest import day_files
    from flows.scans import cached_scan
    from flows.synth import write_market

    folder = tmp_path_factory.mktemp("days")
    flags = {"synthetic.assets": 10, "synthetic.days": 6, "synthetic.bar_seconds": 300, "paths.cache": str(folder / "cache")}
    settings = load(flags=flags).settings
    write_market(settings.synthetic, folder / "klines", quiet)
    scans, _ = cached_scan(KlineStore(folder / "klines"), settings, "", "", track=quiet)
    return day_files(scans)


def quiet(items, total, label):
    return items


def stopping(after):
    """A progress bar on which the operator presses Ctrl-C after some parts."""

    def track(items, total, label):
        for done, item in enumerate(items, 1):
            yield item
            if done == after:
                raise KeyboardInterrupt

    return track


def test_an_interrupted_training_goes_on_and_gives_the_same_table(days, tmp_path):
    """Ctrl-C after two parts, then a damaged part: the table has the bytes of an uninterrupted run on two processes."""
    pytest.importorskip("scipy", reason="scipy is not installed; the forewarner extra brings it")
    from flows.forewarner import Training, plan_trials, train

    plan = plan_trials(days, EngineConfig(), seed=3, path_days=3, block_days=2.0)
    whole = train(Training(tuple(days), plan, 200, jobs=2), tmp_path / "whole.parquet", quiet)
    work = Training(tuple(days), plan, 200, jobs=1)
    with pytest.raises(KeyboardInterrupt):
        train(work, tmp_path / "cut.parquet", stopping(2))
    parts = sorted((tmp_path / "cut.parquet.parts" / plan.digest[:24]).glob("*.parquet"))
    assert len(parts) == 2
    assert not (tmp_path / "cut.parquet").exists()
    stamp = parts[0].stat().st_mtime_ns
    parts[1].write_bytes(parts[1].read_bytes()[:-100])
    train(work, tmp_path / "cut.parquet", quiet)
    assert (tmp_path / "cut.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert parts[0].stat().st_mtime_ns == stamp
    assert len(whole.values) == 200
    longer = train(Training(tuple(days), plan, 256, jobs=1), tmp_path / "whole.parquet", quiet)
    assert np.array_equal(longer.values[:200], whole.values, equal_nan=True)


def test_plans_of_other_days_seeds_or_settings_never_share_parts(days):
    """Whatever decides a trial is in the plan's hash; settings that trials vary anyway are not."""
    from flows.forewarner import plan_trials

    facts = {"seed": 3, "path_days": 3, "block_days": 2.0}
    plan = plan_trials(days, EngineConfig(), **facts)
    others = [plan_trials(days, EngineConfig(), **{**facts, name: value}) for name, value in (("seed", 4), ("path_days", 4))]
    others += [plan_trials(days[1:], EngineConfig(), **facts), plan_trials(days, EngineConfig(stop_loss_pct=0.5), **facts)]
    others += [msgspec.structs.replace(plan, code="other")]
    assert len({plan.digest, *(other.digest for other in others)}) == 1 + len(others)
    assert plan_trials(days, EngineConfig(max_leverage=2.0, seed=9), **facts).digest == plan.digest
    with pytest.raises(QualityError, match="3 days are too few for trials"):
        plan_trials(days[:3], EngineConfig(), **facts)
