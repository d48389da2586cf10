"""The exchange's time from what it says: bounds that hold, a clock that is wrong is told from a network that is slow."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from daemons.exchange_clock import ExchangeClock

NOW = 1_735_732_800_000


@settings(max_examples=60, deadline=None)
@given(lead=st.integers(-900, 900), seed=st.integers(0, 10**6))
def test_the_exchanges_time_is_never_told_ahead_of_itself(lead, seed):
    """Whatever the network's delays are, and however they differ by direction."""
    clock, rng, ours, told = ExchangeClock(1000), random.Random(seed), NOW, 0
    for _ in range(40):
        there, back = rng.randint(0, 400), rng.randint(0, 400)
        clock.answer(ours, ours + there + back, ours + there + lead)
        ours += there + back
        clock.stamp(ours + rng.randint(0, 200), ours + lead)
        now = clock.now(ours)
        assert told <= now <= ours + lead
        low, high = clock.lead
        assert low <= lead <= high
        told = now
        ours += rng.randint(200, 1000)
    assert not clock.skewed


def test_a_slow_network_is_no_wrong_clock():
    clock = ExchangeClock(1000)
    clock.answer(NOW, NOW + 30_000, NOW + 29_900)
    assert not clock.skewed
    assert clock.now(NOW + 30_000) == NOW + 29_900


def test_a_clock_that_is_set_is_seen_at_the_next_answer_and_seen_to_be_right_again():
    clock = ExchangeClock(1000)
    clock.answer(NOW, NOW + 20, NOW + 10)
    before = clock.now(NOW + 20)
    clock.answer(NOW + 1000, NOW + 1020, NOW + 6010)
    assert clock.skewed
    assert clock.right_ms == NOW
    assert clock.now(NOW + 1500) == before
    clock.answer(NOW + 2000, NOW + 2020, NOW + 2010)
    assert not clock.skewed
    assert clock.now(NOW + 2020) == NOW + 2010


def test_a_stamp_that_cannot_be_true_is_refused_and_moves_nothing():
    clock = ExchangeClock(1000)
    clock.answer(NOW, NOW + 20, NOW + 10)
    assert not clock.stamp(NOW + 100, NOW + 5000)
    assert clock.stamp(NOW + 100, NOW + 95)
    assert clock.now(NOW + 200) == NOW + 195


def test_nothing_is_known_before_the_first_answer():
    clock = ExchangeClock(1000)
    assert not clock.known
    assert clock.now(NOW) == 0
