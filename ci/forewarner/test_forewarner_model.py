"""The model: refitted to the same bits, calibrated where the truth is known, scaled as specified, and refusing what it must."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from forewarner import made_up

from dolphin.config import EngineConfig, load_profile
from dolphin.engine.forewarner import mc_status
from dolphin.engine.nd import NDAlphaEngine
from dolphin.errors import ConfigError, DataError, MalformedFile, MissingDependency, QualityError, SchemaError
from dolphin.forewarner.calibration import calibrate, compare_with_base, reliability, verdict
from dolphin.forewarner.condition import CONDITION
from dolphin.forewarner.forewarner import Forewarner
from dolphin.forewarner.model import FEATURES, catastrophic, fit_envelope, fit_risk, fold, went_well
from dolphin.forewarner.table import COLUMNS, TrialTable, read_table, write_table
from dolphin.storage.parquet import write_parquet
from dolphin.types import McStatus

pytest.importorskip("sklearn", reason="scikit-learn is not installed; the forewarner extra brings it")

LEVERAGES = np.linspace(1, 10, 19)


@pytest.fixture(scope="module")
def table():
    return made_up.table()


@pytest.fixture(scope="module")
def saved(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("forewarner") / "trials.parquet"
    write_table(path, table)
    return path


@pytest.fixture(scope="module")
def forewarner(saved):
    return Forewarner.load(saved)


def answers(forewarner):
    """Probability and score over leverage, as bits."""
    reports = [forewarner.assess_config_dict({"max_leverage": float(x)}) for x in LEVERAGES]
    return [(r.catastrophic_probability.hex(), r.envelope_score.hex(), r.mc_status.value) for r in reports]


def test_two_loads_answer_alike_to_the_last_bit(forewarner, saved):
    """In this process and in a fresh one: the refit is a function of the table."""
    assert answers(Forewarner.load(saved)) == answers(forewarner)
    code = (
        "import sys, numpy as np; from dolphin.forewarner.forewarner import Forewarner; f = Forewarner.load(sys.argv[1])\n"
        "for x in np.linspace(1, 10, 19):\n"
        "    r = f.assess_config_dict({'max_leverage': float(x)}); print(r.catastrophic_probability.hex(), r.envelope_score.hex())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(saved)], capture_output=True, text=True, timeout=120, check=True)
    assert [tuple(line.split()) for line in done.stdout.splitlines()] == [row[:2] for row in answers(forewarner)]


def test_known_probabilities_are_found(table):
    """Outcomes drawn with a known probability: each bin of what is said comes true, and the score is near the best possible."""
    risk = fit_risk(table.features(), catastrophic(table), fold(table) == 4)
    fresh = made_up.table(trials=4000, seed=2)
    said, truth = risk.probability(fresh.features()), made_up.known_risk({name: fresh.column(name) for name in FEATURES})
    for row in reliability(said, catastrophic(fresh)):
        assert row["trials"] < 50 or abs(row["observed"] - row["probability"]) < 0.08, row
    best = float(np.mean(truth * (1 - truth)))
    assert best < float(np.mean((said - catastrophic(fresh)) ** 2)) < best + 0.012
    assert np.sqrt(np.mean((said - truth) ** 2)) < 0.10


def test_probability_never_falls_when_leverage_rises(forewarner):
    """A law of the model, not of the data it happened to see."""
    said = [forewarner.assess_config_dict({"max_leverage": float(x), "fraction": 0.3}).catastrophic_probability for x in LEVERAGES]
    assert (np.diff(said) >= 0).all()
    assert said[0] < 0.3 < 0.7 < said[-1]


def test_the_envelope_is_scaled_by_the_trials_that_went_well(table):
    """0 = their 5th percentile, 1 = their median; far outside lies below -1, and falls further the farther."""
    well = table.features()[went_well(table)]
    envelope = fit_envelope(well)
    assert np.percentile(envelope.score(well), [5, 50]) == pytest.approx([0.0, 1.0], abs=1e-9)
    far = np.repeat(np.median(well, axis=0)[None, :], 3, axis=0)
    far[:, FEATURES.index("fixed_tp_pct")] = [0.01, 0.08, 0.5]
    score = envelope.score(far)
    assert score[0] > 0 > -1 > score[1] > score[2]
    assert {FEATURES[k] for k in envelope.columns}.isdisjoint(CONDITION)
    assert np.isnan(fit_envelope(well[:20]).score(well[:3])).all()


def test_the_condition_joins_the_envelope_when_enough_days_stand_behind_it(table):
    """On 70 different starting days or more a strange market, too, lies outside."""
    rng, well = np.random.default_rng(0), table.features()[went_well(table)].copy()
    well[:, 8:] = rng.random((100, len(CONDITION)))[np.arange(len(well)) % 100]
    envelope = fit_envelope(well)
    strange = np.median(well, axis=0)[None, :].copy()
    assert envelope.score(strange)[0] > 0
    strange[0, FEATURES.index("velocity_50")] = 5.0
    assert envelope.score(strange)[0] < -1
    strange[0, FEATURES.index("velocity_50")] = np.nan
    assert np.isnan(envelope.score(strange)[0])


@pytest.mark.parametrize(
    ("probability", "score", "status"),
    [
        (0.25, 0.1, "ORANGE"),
        (0.2501, 1, "RED"),
        (0.05, -1.01, "RED"),
        (0.10, 0, "OK"),
        (float("nan"), 1, "RED"),
        (0.0, float("nan"), "RED"),
    ],
)
def test_the_gate_at_its_edges(probability, score, status):
    """The thresholds are the engine's; what is not finite is RED."""
    assert mc_status(probability, score) is McStatus[status]


def test_a_report_carries_the_gate_s_verdict(forewarner):
    """Status, probability and score agree, from OK to RED, and the condition is that of the table's last day."""
    reports = [forewarner.assess_config_dict({"max_leverage": float(x)}) for x in LEVERAGES]
    assert {r.mc_status for r in reports} >= {McStatus.OK, McStatus.RED}
    assert all(r.mc_status is mc_status(r.catastrophic_probability, r.envelope_score) for r in reports)
    assert reports[0].condition_date == "2025-03-30"
    assert reports[0].cautions == ()
    wide = forewarner.assess_config_dict({"max_leverage": 11.0, "stop_loss_pct": 0.2})
    assert wide.cautions == ("stop_loss_pct = 0.2, the trials had 1.0", "max_leverage = 11 lies outside what the trials varied (1 to 10)")


def test_what_cannot_be_read_counts_as_worst(saved):
    """A last day without shares, or a setting that is not finite: no score, RED."""
    forewarner = Forewarner.load(saved)
    assert forewarner.assess_config_dict({"max_leverage": float("nan")}).mc_status is McStatus.RED
    forewarner = forewarner.observed("2025-04-01", {"vel_div": np.zeros(3)})
    report = forewarner.assess_config_dict({"max_leverage": 1.0})
    assert report.mc_status is McStatus.RED
    assert report.to_dict()["envelope_score"] is None
    assert "condition of 2025-04-01 unknown: lambda_share_50" in report.cautions[0]


def test_the_engine_asks_it_once_a_day_with_the_boosted_leverage(forewarner):
    """RED lets nothing in, ORANGE halves size, OK changes nothing: trade by trade."""
    market = made_up.market(days=2)

    def run(leverage):
        engine = NDAlphaEngine(load_profile())
        if leverage:
            engine.set_mc_forewarner(forewarner, {"max_leverage": leverage})
        return [engine.process_rows(date, rows) for date, rows in zip(market.dates, market.rows, strict=True)], engine

    plain, (calm, engine), (red, _) = run(None)[1], run(1.0), run(10.0)
    assert {day["mc_status"] for day in calm} == {"OK"}
    assert [t["entry_bar"] for t in engine.trades] == [t["entry_bar"] for t in plain.trades]
    assert {day["mc_status"] for day in red} == {"RED"}
    assert not any(day["trades"] for day in red)


def test_a_table_without_a_law_does_not_beat_the_base_rate():
    """Coin flips: the report says so."""
    coin = made_up.table(trials=3000, risk=lambda values: np.full(3000, 0.3), seed=4)
    found = calibrate(coin, {})
    assert not found["tests"]["later"]["beats"] or found["tests"]["later"]["skill_low"] < 0
    assert verdict(found).startswith(("Does not beat the base rate", "Beats the base rate, but not surely"))


def test_a_table_with_a_law_beats_it_and_tests_only_days_that_were_not_fitted(table):
    """Skill on later days, the gate in order, and a change of later outcomes that leaves what was fitted alone."""
    found = calibrate(table, {})
    later = found["tests"]["later"]
    assert verdict(found).startswith("Beats the base rate: Brier")
    assert later["skill_low"] > 0.2
    assert later["trials"] == int((table.column("pool") == 1).sum())
    ok, orange, red = (row["catastrophic"] for row in found["gate"])
    assert ok < orange < red
    assert found["importance"][0]["name"] in ("max_leverage", "max_fraction")
    flipped = table.values.copy()
    rows = flipped[:, COLUMNS.index("pool")] == 1
    flipped[rows, COLUMNS.index("honest_roi")] = -0.9
    again = calibrate(TrialTable(table.plan, flipped), {})["tests"]
    assert again["same"] == found["tests"]["same"]
    assert again["later"]["rate"] == 1.0


def test_the_base_rates_are_the_two_constants():
    """By hand: the rate known before, and the tested trials' own; no interval from fewer than three days."""
    events = np.array([True, False, False, False])
    test = compare_with_base(np.array([0.9, 0.1, 0.1, 0.1]), events, 0.5, np.array([1, 1, 2, 2]))
    assert test["brier"] == pytest.approx(0.01)
    assert test["brier_known_rate"] == pytest.approx(0.25)
    assert test["brier_own_rate"] == pytest.approx(0.1875)
    assert test["skill"] == pytest.approx(1 - 0.01 / 0.1875)
    assert (test["beats"], test["skill_low"]) == (True, None)


def test_too_few_catastrophes_give_the_base_rate_and_say_so():
    """No classifier is fitted to a handful of events."""
    calm = made_up.table(trials=300, risk=lambda values: np.full(300, 0.003))
    forewarner = Forewarner(calm)
    said = {forewarner.assess_config_dict({"max_leverage": float(x)}).catastrophic_probability for x in LEVERAGES}
    assert said == {(catastrophic(calm).sum() + 1) / 302}
    assert "the probability is the base rate" in forewarner.assess_config_dict({}).cautions[-1]
    assert verdict(calibrate(calm, {})).startswith("Nothing was learnt")


def test_too_few_good_trials_make_every_day_red():
    """Without an envelope nothing is waved through."""
    grim = made_up.table(trials=300, risk=lambda values: np.full(300, 0.95))
    report = Forewarner(grim).assess_config_dict({"max_leverage": 1.0})
    assert report.mc_status is McStatus.RED
    assert "too few trials went well" in report.cautions[0]


def test_a_flipped_bit_never_changes_what_is_read(saved, table, tmp_path):
    """Damage at forty places is refused, but for a byte of the footer that nobody reads; a cut file is refused."""
    raw, refused = saved.read_bytes(), 0
    for k in range(1, 40):
        damaged = bytearray(raw)
        damaged[len(raw) * k // 40] ^= 0x10
        path = tmp_path / f"{k}.parquet"
        path.write_bytes(damaged)
        try:
            read = read_table(path)
        except DataError as error:
            refused += error.path == path
        else:
            assert np.array_equal(read.values, table.values, equal_nan=True)
            assert read.plan == table.plan
    assert refused >= 37
    (tmp_path / "cut.parquet").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(MalformedFile, match=r"cut\.parquet"):
        read_table(tmp_path / "cut.parquet")


def test_foreign_tables_are_refused(table, tmp_path):
    """Another kind of parquet, another envelope, values that no trial has, trials out of order."""
    path = tmp_path / "x.parquet"
    write_parquet(path, {"ts": np.arange(3)}, {"schema": "dolphin.klines/1"})
    with pytest.raises(SchemaError, match=r"expected schema dolphin.forewarner-trials/1, found dolphin.klines/1"):
        read_table(path)
    narrow = msgspec.structs.replace(table.plan, envelope={**table.plan.envelope, "convexity": (1.0, 2.0)})
    write_table(path, dataclasses.replace(table, plan=narrow))
    with pytest.raises(SchemaError, match="another envelope"):
        read_table(path)
    for name, value, why in (
        ("max_leverage", 12.0, "12.0 lies outside"),
        ("honest_roi", np.nan, "nan lies outside"),
        ("pool", 2.0, "2.0 lies"),
    ):
        values = table.values.copy()
        values[5, COLUMNS.index(name)] = value
        write_table(path, TrialTable(table.plan, values))
        with pytest.raises(QualityError, match=f"column {name}, row 5: {why}"):
            read_table(path)
    write_table(path, TrialTable(table.plan, np.ascontiguousarray(table.values[::-1])))
    with pytest.raises(QualityError, match="trials are not ascending"):
        read_table(path)


def test_a_table_of_another_base_configuration_is_refused(saved):
    """Settings that trials vary may differ; any other is named."""
    assert Forewarner.load(saved, EngineConfig(max_leverage=2.0, convexity=2.0, seed=1)).risk.trees is not None
    with pytest.raises(ConfigError, match=r"its trials ran another configuration: stop_loss_pct = 0.5, the trials had 1.0"):
        Forewarner.load(saved, EngineConfig(stop_loss_pct=0.5))


def test_without_scikit_learn_the_message_names_the_extra(saved, monkeypatch):
    """The rest of the package does not need it."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "sklearn" else real(name, *rest))
    with pytest.raises(MissingDependency, match=r"pip install 'dolphin-nautilus\[forewarner\]'"):
        Forewarner.load(saved)
