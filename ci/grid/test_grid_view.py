"""The trader's local copy: what it says of posture, boost and warning as they age, fall, lie or go."""

from __future__ import annotations

import math
import time

import pytest
from grid_clusters import FENCE, NOW, next_seq, safety, until

from dolphin.errors import MissingDependency
from dolphin.grid.embedded import EmbeddedGrid
from dolphin.grid.features import ShardedFeatureStore
from dolphin.grid.maps import CONTROL, FEATURES, SAFETY, AcbBoost, Forewarning, Kill, ObMacro, fields
from dolphin.grid.record import Reason
from dolphin.grid.safety import LATEST, SafetyCell
from dolphin.grid.view import LocalView, State
from dolphin.types import Posture


@pytest.fixture
def view(clocks):
    """A view of an embedded grid that has been read once."""
    grid = EmbeddedGrid(clocks.monotonic)
    view = LocalView(grid, clocks.monotonic, clocks.wall, ["BTCUSDT"])
    assert view.poll()
    view.grid = grid
    return view


def posture_of(view):
    answer = view.posture()
    return answer.value, answer.state, answer.reason


def test_before_anything_is_published_everything_is_unknown_and_nothing_may_be_entered(view, clocks):
    assert posture_of(view) == (Posture.TURTLE, State.UNKNOWN, Reason.ABSENT)
    for answer in (view.acb_boost(), view.mc_forewarner(), view.ob_macro(), view.kill(), view.book("BTCUSDT")):
        assert answer == (None, State.UNKNOWN, Reason.ABSENT, math.inf)
    unread = LocalView(view.grid, clocks.monotonic, clocks.wall)
    assert posture_of(unread) == (Posture.HIBERNATE, State.UNKNOWN, Reason.GRID_LOST)


def test_the_view_answers_what_was_published_with_its_age(view, clocks):
    grid = view.grid
    SafetyCell(grid).write(safety())
    boost = AcbBoost(ts_ms=NOW, boost=1.3, beta=0.8, signals=1.0, factors={"fng": None}, w750_vel=None, date="2025-01-01")
    warning = Forewarning(ts_ms=NOW, status="ORANGE", catastrophic_probability=0.2, envelope_score=-0.5, date="2025-01-01", model_hash="ab")
    macro = ObMacro(
        ts_ms=NOW - 2000, cascade_count=1, regime_signal=0.5, market_imbalance=0.1, market_agreement=None, n_assets=48, n_stale=0
    )
    kill = Kill(engaged=False, reason="start", by="operator", ts_ms=NOW - 10_000)
    for place, record in (((FEATURES, "acb_boost"), boost), ((FEATURES, "mc_forewarner"), warning), ((FEATURES, "ob_macro"), macro)):
        grid.put(*place, fields(record))
    grid.put(CONTROL, "kill", fields(kill))
    ShardedFeatureStore(grid, clocks.wall).put("BTCUSDT", "book", {"imbalance_ma5": 0.5})
    clocks.seconds += 1.5
    assert view.posture() == (Posture.APEX, State.FRESH, None, 1.5)
    assert view.acb_boost() == (boost, State.FRESH, None, 1.5)
    assert view.mc_forewarner().value == warning
    assert view.ob_macro() == (macro, State.FRESH, None, 3.5)
    assert view.kill() == (kill, State.FRESH, None, 11.5)
    assert view.book("BTCUSDT").value.value == {"imbalance_ma5": 0.5}
    with pytest.raises(KeyError):
        view.book("ETHUSDT")


def test_a_posture_older_than_180_seconds_is_turtle_and_a_poll_does_not_make_it_younger(view, clocks):
    SafetyCell(view.grid).write(safety())
    for _ in range(36):
        view.poll()
        assert posture_of(view) == (Posture.APEX, State.FRESH, None)
        clocks.seconds += 5
    view.poll()
    assert view.posture() == (Posture.APEX, State.FRESH, None, 180.0)
    clocks.seconds += 0.1
    assert posture_of(view) == (Posture.TURTLE, State.STALE, Reason.STALE)


def test_a_record_that_was_old_when_it_was_first_read_is_old(view):
    SafetyCell(view.grid).write(safety(ts_ms=NOW - 181_000))
    view.poll()
    assert posture_of(view) == (Posture.TURTLE, State.STALE, Reason.STALE)


def test_what_was_tighter_than_turtle_stays_so_when_it_grows_old(view, clocks):
    SafetyCell(view.grid).write(safety(posture="HIBERNATE"))
    view.poll()
    clocks.seconds += 25
    view.poll()
    clocks.seconds += 160
    view.poll()
    assert posture_of(view) == (Posture.HIBERNATE, State.STALE, Reason.STALE)


def test_a_grid_that_is_away_for_30_seconds_is_hibernate_and_stale_whatever_was_said(view, clocks):
    SafetyCell(view.grid).write(safety())
    view.grid.put(CONTROL, "kill", fields(Kill(engaged=False, reason="", by="", ts_ms=NOW)))
    view.poll()
    view.grid.close()
    clocks.seconds += 30
    assert not view.poll()
    assert posture_of(view) == (Posture.APEX, State.FRESH, None)
    clocks.seconds += 0.1
    assert posture_of(view) == (Posture.HIBERNATE, State.STALE, Reason.GRID_LOST)
    assert (view.kill().state, view.kill().reason) == (State.STALE, Reason.GRID_LOST)
    assert view.contact_age_s() == pytest.approx(30.1)


def test_an_emptied_grid_is_unknown_at_once_and_never_healthy(view):
    SafetyCell(view.grid).write(safety())
    view.poll()
    view.grid.delete(SAFETY, LATEST)
    assert posture_of(view) == (Posture.TURTLE, State.UNKNOWN, Reason.ABSENT)
    view.poll()
    assert posture_of(view) == (Posture.TURTLE, State.UNKNOWN, Reason.ABSENT)


UNREADABLE = {
    "unknown posture": {"posture": "GODMODE"},
    "rm beyond 1": {"rm": 1.5},
    "rm as text": {"rm": "0.9"},
    "seq with a fraction": {"seq": 2.5},
    "seq as a flag": {"seq": True},
    "reasons as text": {"reasons": "none"},
    "another schema": {"schema": "dolphin.posture/2"},
    "no posture": {"posture": None},
}


@pytest.mark.parametrize("changes", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_posture_is_turtle_until_a_good_one_comes(view, changes):
    grid = view.grid
    SafetyCell(grid).write(safety())
    grid.put(SAFETY, LATEST, {**grid.get(SAFETY, LATEST), "seq": 2, **changes})
    assert posture_of(view) == (Posture.TURTLE, State.REFUSED, Reason.WRONG_FIELDS)
    assert view.safety().value.posture == "APEX", "the last good one, for whoever asks"
    assert view.refused == {"WRONG_FIELDS": 1}
    SafetyCell(grid).write(safety(seq=3, posture="STALKER"))
    assert posture_of(view) == (Posture.STALKER, State.FRESH, None)


def test_a_text_that_the_port_refuses_is_unreadable_too(view):
    SafetyCell(view.grid).write(safety())
    view.grid._store(SAFETY, LATEST, '{"posture": NaN}', None)
    assert posture_of(view) == (Posture.TURTLE, State.REFUSED, Reason.NOT_JSON)


def test_a_falling_seq_is_refused_and_the_newer_record_stays_in_force(view):
    grid = view.grid
    SafetyCell(grid).write(safety(seq=7, posture="STALKER"))
    newest = grid.get(SAFETY, LATEST)
    for change in ({"seq": 6, "posture": "APEX"}, {"seq": 7, "posture": "APEX"}):
        grid.put(SAFETY, LATEST, {**newest, **change})
        assert posture_of(view) == (Posture.STALKER, State.FRESH, None)
    assert view.refused == {"FALLING_SEQ": 2}
    grid.put(SAFETY, LATEST, {**newest, "seq": 1, "fence": NOW, "posture": "TURTLE"})
    assert posture_of(view) == (Posture.TURTLE, State.FRESH, None), "a later holder of the lock counts from 1"


def test_a_stamp_from_the_future_is_refused(view):
    SafetyCell(view.grid).write(safety())
    SafetyCell(view.grid).write(safety(seq=2, ts_ms=NOW + 5_001))
    assert posture_of(view) == (Posture.TURTLE, State.REFUSED, Reason.FUTURE_STAMP)


@pytest.mark.parametrize("changes", [{"boost": 0.9}, {"boost": 3.1}, {"beta": -0.1}, {"date": "today"}, {"boost": None}], ids=str)
def test_a_boost_beyond_its_range_is_refused_and_the_last_good_one_said_so(view, changes):
    boost = AcbBoost(ts_ms=NOW, boost=1.3, beta=0.8, signals=1.0, factors={}, w750_vel=None, date="2025-01-01")
    view.grid.put(FEATURES, "acb_boost", fields(boost))
    view.grid.put(FEATURES, "acb_boost", {**fields(boost), "ts_ms": NOW + 1, **changes})
    assert view.acb_boost()[:3] == (boost, State.REFUSED, Reason.WRONG_FIELDS)


def test_a_view_follows_every_grid_by_itself(grid):
    """Watchers and poll on a thread of their own, against real clusters too."""
    view = LocalView(grid, time.monotonic, lambda: time.time_ns() // 1_000_000, ["BTCUSDT"])
    view.start()
    try:
        cell = SafetyCell(grid)
        until(lambda: view.contact_age_s() < 5)
        cell.write(safety(seq=next_seq(cell), posture="STALKER", ts_ms=time.time_ns() // 1_000_000), FENCE)
        ShardedFeatureStore(grid).put("BTCUSDT", "book", {"imbalance_ma5": 0.25})
        until(lambda: view.posture().value is Posture.STALKER and view.book("BTCUSDT").state is State.FRESH)
        grid.delete(SAFETY, LATEST)
        if cell.kind == "map":
            until(lambda: posture_of(view) == (Posture.TURTLE, State.UNKNOWN, Reason.ABSENT))
    finally:
        view.stop()


def test_a_view_of_a_grid_that_never_answers_says_hibernate(clocks):
    grid = EmbeddedGrid()
    grid.close()
    view = LocalView(grid, clocks.monotonic, clocks.wall)
    assert not view.poll()
    assert posture_of(view) == (Posture.HIBERNATE, State.UNKNOWN, Reason.GRID_LOST)
    with pytest.raises(MissingDependency, match="closed"):
        SafetyCell(grid).write(safety())
