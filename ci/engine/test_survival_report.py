"""Survival stack: the record, what it says in words, and the replay of a day."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from survival_readings import READINGS, run, target, warm

from dolphin.config import SurvivalConfig
from dolphin.engine.survival import (
    Sensors,
    SurvivalStack,
)
from dolphin.engine.survival_report import HEALTHY, SensorDay, explain, minutes_since_spike, replay
from dolphin.errors import QualityError
from dolphin.types import Posture

# --------------------------------------------------------------------------------------------------- record, words


def test_the_record_has_the_fields_that_are_published():
    """{posture, rm, target, cat1..cat5, reasons, ts_ms, seq}; seq goes on from the number before."""
    stack = SurvivalStack(seq=41)
    stack.evaluate(HEALTHY, 1.0, 1_000)
    record = msgspec.json.decode(msgspec.json.encode(stack.evaluate(replace(HEALTHY, mc_status="ORANGE", drawdown=0.1), 1.0, 2_000)))
    assert list(record) == ["posture", "rm", "target", "cat1", "cat2", "cat3", "cat4", "cat5", "reasons", "ts_ms", "seq"]
    assert (record["seq"], record["ts_ms"], record["posture"]) == (43, 2_000, "HIBERNATE")
    assert record["reasons"] == ["forewarner ORANGE, 0.0 h old: Cat2 0.500", "drawdown 0.1: Cat5 0.646", "recovering towards 0.323"]


def test_a_silent_system_names_every_sensor():
    """Nothing can be read: each sensor is named once, posture HIBERNATE, Rm 0."""
    record = run(warm(), Sensors())
    silent = [r for r in record.reasons if r.endswith("cannot be read")]
    assert len(silent) == len(fields(Sensors))
    assert record.rm == 0.0
    assert record.posture is Posture.HIBERNATE


def test_explain_prices_each_sensor():
    """``alone`` against the best Rm, ``gain`` against the target; the dearest first; words carry the same numbers."""
    sensors = replace(HEALTHY, mc_status="ORANGE", ob_stale=True, drawdown=0.1)
    told = explain(sensors, 0.05)
    assert [c.sensor for c in told.costs] == ["mc_status", "ob_stale", "drawdown"]
    assert [c.alone for c in told.costs] == pytest.approx([0.486702, 0.486702, 0.327747], abs=1e-5)
    assert told.target == pytest.approx(0.645656 * 0.125, abs=1e-5)
    assert told.costs[0].gain == pytest.approx(told.target * 3), "mending ORANGE doubles Cat2 and ends the halving"
    assert "mc_status = ORANGE: alone it costs 0.487; mended now, the target changes by +0.242" in told.text
    assert "drawdown = 0.1: alone it costs 0.328" in told.text


def test_explain_tells_how_long_recovery_takes():
    """From Rm 0 with every sensor good: 128 one-minute evaluations to APEX, and nothing to blame."""
    told = explain(HEALTHY, 0.0)
    assert (told.costs, told.minutes) == ((), 128)
    assert "No sensor costs anything" in told.text
    assert "128 one-minute evaluations until Rm stands at APEX" in told.text
    assert explain(HEALTHY, 0.95).minutes == 0


@settings(max_examples=100, deadline=None)
@given(reading=READINGS, order_book=st.booleans())
def test_explain_leaves_no_loss_unexplained(reading, order_book):
    """A target below the best names at least one sensor; mending everything named restores the best."""
    config = SurvivalConfig(order_book=order_book)
    told = explain(reading, 0.5, config)
    healed = replace(reading, **{c.sensor: getattr(HEALTHY, c.sensor) for c in told.costs})
    assert target(healed, order_book) == pytest.approx(target(HEALTHY), abs=5e-3)
    for cost in told.costs:
        assert cost.alone >= 0.0


def test_explain_names_the_kill_switch_and_the_unreadable():
    """Words for what is no number."""
    text = explain(replace(HEALTHY, kill=True, heartbeat_age_s=None), 0.0).text
    assert "kill switch" in text
    assert "heartbeat_age_s = cannot be read: alone it costs 0.973" in text


# --------------------------------------------------------------------------------------------------------- replay


def day(n=400, seed=0):
    rng = np.random.default_rng(seed)
    spike = np.where(np.arange(n) < 150, np.inf, np.arange(n) - 150.0)
    return SensorDay(
        dt_min=np.ones(n),
        hz_nodes=np.where(np.arange(n) == 300, 0, 3),
        heartbeat_age_s=rng.uniform(0, 20, n),
        mc_status=["OK"] * n,
        staleness_hours=rng.uniform(0, 4, n),
        ob_stale=np.zeros(n, dtype=bool),
        depth_quality=rng.uniform(1.0, 2.0, n),
        fill_prob=np.ones(n),
        t_since_spike_min=spike,
        drawdown=np.zeros(n),
        kill=np.zeros(n, dtype=bool),
    )


def head(sensors, n):
    return SensorDay(**{f.name: getattr(sensors, f.name)[:n] for f in fields(sensors)})


def test_a_replayed_day_gives_the_postures_of_the_live_one():
    """Arrays in, one record an evaluation out, equal to evaluating the readings one by one; a spike and an outage show."""
    sensors = day()
    records = replay(sensors, first_ts_ms=1_000)
    stack, live = SurvivalStack(), []
    names = [f.name for f in fields(Sensors)]
    for i in range(len(records)):
        reading = Sensors(**{name: getattr(sensors, name)[i] for name in names})
        live.append(stack.evaluate(reading, 1.0, 1_000 + 60_000 * (i + 1)))
    assert records == live
    seen = [r.posture for r in records]
    assert seen[140] is Posture.APEX
    assert seen[152] is Posture.HIBERNATE
    assert seen[300] is Posture.HIBERNATE
    assert records[300].rm == 0.0


@pytest.mark.parametrize("cut", [1, 151, 301])
def test_a_replay_depends_on_the_past_only(cut):
    """Dropping later readings changes no earlier record."""
    assert replay(head(day(), cut)) == replay(day())[:cut]


def test_gaps_in_a_record_are_worst_values():
    """None in a list, NaN in an array; columns of unequal length are refused."""
    sensors = day(20)
    silent = SensorDay(**{**{f.name: getattr(sensors, f.name) for f in fields(sensors)}, "drawdown": [0.0] * 10 + [None] * 10})
    records = replay(silent, warm())
    assert records[9].posture is records[10].posture is Posture.APEX
    assert records[11].posture is Posture.HIBERNATE
    with pytest.raises(QualityError, match="differ in length"):
        replay(SensorDay(**{**{f.name: getattr(sensors, f.name) for f in fields(sensors)}, "drawdown": [0.0]}))


def test_a_dvol_spike_is_15_percent_within_60_minutes():
    """Exactly +15 % counts, 60 minutes count, 61 do not; NaN is skipped; time runs from the last sample that stood so high."""
    minutes = np.array([0.0, 30.0, 60.0, 91.0, 121.0, 152.0])
    dvol = np.array([100.0, np.nan, 115.0, 115.0, 132.0, 140.0])
    assert minutes_since_spike(minutes, dvol).tolist() == [math.inf, math.inf, 0.0, 31.0, 61.0, 92.0]
    slow = np.linspace(100, 200, 1000)
    assert np.isinf(minutes_since_spike(np.arange(1000.0), slow)).all()


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.tuples(st.floats(0.5, 40), st.sampled_from([50.0, 57.0, 58.0, 70.0, math.nan])), min_size=1, max_size=40))
def test_spikes_equal_a_plain_search(steps):
    """Against a double loop over all pairs."""
    minutes = np.cumsum([s for s, _ in steps])
    dvol = np.array([v for _, v in steps])
    last, wanted = -math.inf, []
    for i in range(len(dvol)):
        if any(minutes[i] - minutes[j] <= 60 and dvol[i] >= 1.15 * dvol[j] for j in range(i)):
            last = minutes[i]
        wanted.append(minutes[i] - last)
    np.testing.assert_allclose(minutes_since_spike(minutes, dvol), wanted)
