"""Readings of the survival stack for its tests: any in range, and short ways to ask for a target or a record."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from dolphin.config import SurvivalConfig
from dolphin.engine.survival import Sensors, SurvivalStack, categories, combine

READINGS = st.builds(
    Sensors,
    hz_nodes=st.sampled_from([0.0, 1.0, 3.0]),
    heartbeat_age_s=st.sampled_from([0.0, 12.5, 30.0, 30.001, 900.0]),
    mc_status=st.sampled_from(["OK", "ORANGE", "RED"]),
    staleness_hours=st.floats(0, 48),
    ob_stale=st.booleans(),
    depth_quality=st.floats(0, 3),
    fill_prob=st.floats(0, 1),
    t_since_spike_min=st.one_of(st.floats(0, 600), st.just(math.inf)),
    drawdown=st.floats(0, 1),
    kill=st.just(False),
)


def target(sensors, order_book=True):
    return combine(*categories(sensors, order_book))


def run(stack, sensors, n=1, dt_min=1.0):
    return [stack.evaluate(sensors, dt_min, 0) for _ in range(n)][-1]


def warm(**config):
    return SurvivalStack(SurvivalConfig(**config), rm=1.0, posture="APEX")
