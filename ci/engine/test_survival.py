"""Survival stack: acceptance values, laws of Rm and posture, options."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import msgspec
import oracle_safety as oracle
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from survival_readings import READINGS, run, target, warm

from dolphin.config import SurvivalConfig
from dolphin.engine.survival import (
    PostureMachine,
    Sensors,
    SurvivalStack,
    cat1,
    cat2,
    cat3,
    cat4,
    cat5,
    categories,
    garbled,
    posture_of,
    recover,
    relative_fill,
)
from dolphin.engine.survival_report import HEALTHY
from dolphin.errors import ConfigError
from dolphin.types import Posture

NUMBERS = ["hz_nodes", "heartbeat_age_s", "staleness_hours", "depth_quality", "fill_prob", "t_since_spike_min", "drawdown"]
HIGHER_IS_BETTER = {"hz_nodes", "depth_quality", "fill_prob", "t_since_spike_min"}
ANYTHING = st.one_of(st.none(), st.floats(), st.booleans())


# ------------------------------------------------------------------------------------------------- acceptance values


@pytest.mark.parametrize(
    ("got", "wanted"),
    [
        *zip(map(cat5, (0, 0.05, 0.12, 0.158)), (0.973403, 0.890903, 0.5, 0.242320), strict=True),
        *zip((cat2("OK", h) for h in (7, 9, 12)), (0.716531, 0.367879, 0.135335), strict=True),
        *zip(map(cat4, (0, 60, 120)), (0.3, 0.742484, 0.905265), strict=True),
        (target(HEALTHY), 0.973403),
        (target(replace(HEALTHY, ob_stale=True)), 0.486702),
        (target(replace(HEALTHY, mc_status="ORANGE")), 0.486702),
        (target(replace(HEALTHY, mc_status="RED")), 0.097340),
        (target(replace(HEALTHY, t_since_spike_min=60.0)), 0.722737),
        (recover(0.0, target(HEALTHY), 1.0), 0.019468),
    ],
)
def test_acceptance_values(got, wanted):
    """The figures of the specification, to six digits."""
    assert got == pytest.approx(wanted, abs=5e-7)


@pytest.mark.parametrize(("nodes", "age", "wanted"), [(1, 30, 1.0), (3, 0, 1.0), (0, 0, 0.0), (1, 30.001, 0.0), (0.5, 1, 0.0)])
def test_cat1_needs_a_member_and_a_heartbeat_of_the_last_30_s(nodes, age, wanted):
    """Both limits are inclusive on the good side."""
    assert cat1(nodes, age) == wanted


def test_no_spike_is_best_and_fill_is_relative_to_plan():
    """None and inf mean "no spike"; a median fill probability of 0.62 is full marks."""
    assert cat4(None) == cat4(math.inf) == 1.0
    assert relative_fill(0.62) == relative_fill(0.95) == 1.0
    assert relative_fill(0.31) == 0.5
    assert math.isnan(relative_fill(math.nan))


def test_recovery_from_zero_takes_36_73_and_128_minutes():
    """>= 0.50, 0.75, 0.90 at exactly these one-minute evaluations and not one earlier."""
    rm, path = 0.0, []
    for _ in range(200):
        rm = recover(rm, target(HEALTHY), 1.0)
        path.append(rm)
    assert [next(i for i, r in enumerate(path, 1) if r >= level) for level in (0.50, 0.75, 0.90)] == [36, 73, 128]


@pytest.mark.parametrize("dt_min", [60.0, 1e9, math.inf])
def test_an_hours_gap_does_not_jump(dt_min):
    """An outage counts as two cadences at most, a clock that runs backwards as none."""
    assert recover(0.0, 0.973403, dt_min) <= recover(0.0, 0.973403, 2.0) == pytest.approx(0.04 * 0.973403)
    assert recover(0.3, 0.9, -5.0) == recover(0.3, 0.9, math.nan) == 0.3


def test_posture_from_apex_as_specified():
    """One low reading is forgiven, two are not, five high ones lift."""
    machine = PostureMachine("APEX")
    seen = [machine.step(rm)[0] for rm in (0.95, 0.8, 0.95, 0.8, 0.8, *[0.95] * 6)]
    assert "".join(seen) == "AAAASSSSSAA"


# ------------------------------------------------------------------------------------------------------------- Rm


@settings(max_examples=300, deadline=None)
@given(reading=READINGS, order_book=st.booleans())
def test_target_equals_the_oracle(reading, order_book):
    """Every category and their combination, over the whole range of readings."""
    assert categories(reading, order_book) == pytest.approx(oracle.cats(reading, order_book), rel=1e-12)
    assert target(reading, order_book) == pytest.approx(oracle.target(reading, order_book), rel=1e-12, abs=1e-300)
    assert 0.0 <= target(reading, order_book) <= 1.0


@settings(max_examples=300, deadline=None)
@given(reading=READINGS, name=st.sampled_from(NUMBERS), other=st.floats(0, 100))
def test_rm_is_monotone_in_every_sensor(reading, name, other):
    """A worse value of one sensor, all else equal, never raises the target."""
    worse, better = sorted([getattr(reading, name), other], reverse=name not in HIGHER_IS_BETTER)
    assert target(replace(reading, **{name: worse})) <= target(replace(reading, **{name: better}))


@settings(max_examples=100, deadline=None)
@given(reading=READINGS)
def test_rm_falls_with_the_forewarners_verdict(reading):
    """OK >= ORANGE >= RED, and what is no verdict counts as RED."""
    by = [target(replace(reading, mc_status=s)) for s in ("OK", "ORANGE", "RED", "OFF", "ok", None, 1.0)]
    assert by[0] >= by[1] >= by[2] == by[3] == by[4] == by[5] == by[6]


def test_a_stale_book_beats_a_fresh_one_that_is_empty():
    """Not monotone in ``ob_stale``: stale is 0.5 by the specification, an empty fresh book 0.3. Kept as written; both are HIBERNATE."""
    assert cat3(True, 0.0, 0.0) == 0.5
    assert cat3(False, 0.0, 0.0) == 0.3
    assert cat3(None, 0.0, 0.0) == cat3(math.nan, 0.0, 0.0) == cat3(-math.inf, 0.0, 0.0) == 0.3
    assert cat3(None, 1.0, 1.0) == 0.5


@settings(max_examples=300, deadline=None)
@example(reading=replace(HEALTHY, depth_quality=0.0, fill_prob=0.0), name="ob_stale", bad=-math.inf)
@given(reading=READINGS, name=st.sampled_from([f.name for f in fields(Sensors)]), bad=st.sampled_from([math.nan, None, -math.inf]))
def test_nonsense_or_silence_never_raises_rm(reading, name, bad):
    """Any sensor replaced by NaN, -inf or None: target no higher, posture no higher."""
    spoilt = replace(reading, **{name: bad})
    assert target(spoilt) <= target(reading)
    good, worse = (run(warm(), s, 3) for s in (reading, spoilt))
    assert worse.rm <= good.rm
    assert oracle.ORDER.index(worse.posture) <= oracle.ORDER.index(good.posture)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_sensor_that_cannot_be_read_counts_as_its_worst_value(name):
    """None and NaN give what the worst reading gives."""
    worst = {"hz_nodes": 0.0, "heartbeat_age_s": 1e9, "staleness_hours": 1e9, "drawdown": 1.0}.get(name, 0.0)
    wanted = target(replace(HEALTHY, **{name: worst}))
    assert target(replace(HEALTHY, **{name: None})) == target(replace(HEALTHY, **{name: math.nan})) == wanted
    assert posture_of(wanted) is Posture.HIBERNATE


@settings(max_examples=300, deadline=None)
@given(values=st.tuples(*[ANYTHING] * 9), kill=ANYTHING, dt=st.floats(), last=st.floats())
def test_anything_at_all_gives_a_finite_rm(values, kill, dt, last):
    """No input raises, Rm stays in [0, 1], the record is plain JSON."""
    sensors = Sensors(*values[:2], "OK", *values[3:], kill=kill)
    stack = SurvivalStack(rm=last)
    record = stack.evaluate(sensors, dt, 1)
    assert 0.0 <= record.rm <= 1.0
    assert 0.0 <= record.target <= 1.0
    assert b"null" not in msgspec.json.encode(record)


@settings(max_examples=300, deadline=None)
@given(last=st.floats(0, 1), aim=st.floats(0, 1), dt=st.floats(-10, 1e6), cadence=st.floats(0.01, 60))
def test_rm_drops_at_once_and_never_rises_faster_than_its_law(last, aim, dt, cadence):
    """rm <= target when falling; rise <= both limits with dt clamped; never beyond the target (but for the last bit)."""
    rm = recover(last, aim, dt, cadence)
    if aim <= last:
        assert rm == aim
        return
    clamped = min(max(dt, 0.0), 2 * cadence)
    assert last <= rm <= aim + 1e-15
    assert rm - last <= min(0.02 * clamped * (aim - last), 0.05 * clamped) + 1e-15


# -------------------------------------------------------------------------------------------------------- posture


@settings(max_examples=400, deadline=None)
@given(
    start=st.sampled_from(oracle.ORDER),
    readings=st.lists(
        st.tuples(st.sampled_from([0.2, 0.5, 0.6, 0.75, 0.8, 0.9, 0.95]), st.integers(0, 15).map(lambda k: k == 0)), max_size=60
    ),
)
def test_posture_equals_the_oracle(start, readings):
    """Hysteresis and its bypass, on any sequence."""
    machine = PostureMachine(start)
    assert [machine.step(rm, halt=halt) for rm, halt in readings] == oracle.postures(start, readings)


@pytest.mark.parametrize(
    ("levels", "wanted"),
    [
        ("SHHH", "AHHH"),
        ("THTT", "AHHH"),
        ("TSSS", "ASSS"),
        ("SAS", "AAA"),
    ],
)
def test_down_goes_to_the_level_of_the_newer_evaluation(levels, wanted):
    """From APEX: the second of two lower levels decides."""
    rm = {"A": 0.95, "S": 0.8, "T": 0.6, "H": 0.1}
    machine = PostureMachine("APEX")
    assert "".join(machine.step(rm[x])[0] for x in levels) == wanted


def test_up_goes_to_the_lowest_of_the_five():
    """From HIBERNATE with one TURTLE among four APEX: TURTLE; the count then starts anew."""
    machine = PostureMachine()
    assert [machine.step(rm)[0] for rm in (0.95, 0.95, 0.6, 0.95, 0.95, *[0.95] * 5)] == list("HHHHTTTTTA")


@pytest.mark.parametrize("kwargs", [{"cat1": 0.0}, {"cat1": math.nan}, {"halt": True}, {"rm": math.nan}, {"rm": math.inf}])
def test_hysteresis_is_bypassed(kwargs):
    """Cat1 = 0, a halt, an Rm that is no number: HIBERNATE in one step, and five good evaluations to leave it."""
    machine = PostureMachine("APEX")
    assert machine.step(**{"rm": 0.95, **kwargs}) is Posture.HIBERNATE
    assert [machine.step(0.95)[0] for _ in range(5)] == list("HHHHA")


@pytest.mark.parametrize(
    "change",
    [{"hz_nodes": 0.0}, {"kill": True}, {"kill": None}, {"drawdown": math.nan}, {"ob_stale": math.nan}, {"t_since_spike_min": -math.inf}],
)
def test_the_stack_hibernates_at_once(change):
    """Grid gone, kill switch engaged or unreadable, nonsense on any sensor; the record says which."""
    record = run(warm(), replace(HEALTHY, **change))
    assert record.posture is Posture.HIBERNATE
    assert record.reasons


def test_silence_waits_for_a_second_evaluation_nonsense_does_not():
    """None goes through hysteresis with its worst value; NaN does not wait."""
    silent = replace(HEALTHY, depth_quality=None)
    stack = warm()
    assert [run(stack, silent).posture[0] for _ in range(3)] == list("AHH")
    assert garbled(silent) == ()
    assert garbled(replace(HEALTHY, depth_quality=math.nan)) == ("depth_quality",)
    assert run(warm(), replace(HEALTHY, depth_quality=math.nan)).posture is Posture.HIBERNATE


def test_cold_start_is_slow():
    """Rm 0 and HIBERNATE; TURTLE, STALKER, APEX four evaluations after Rm reached 0.50, 0.75, 0.90."""
    stack = SurvivalStack()
    seen = [run(stack, HEALTHY).posture for _ in range(140)]
    firsts = [seen.index(p) + 1 for p in (Posture.HIBERNATE, Posture.TURTLE, Posture.STALKER, Posture.APEX)]
    assert firsts == [1, 40, 77, 132]


# -------------------------------------------------------------------------------------------------------- options


def test_without_an_order_book_cat3_is_1_and_posture_at_most_stalker():
    """The book's sensors are not asked, not even for nonsense; the flag and a reason say so."""
    stack = warm(order_book=False)
    record = run(stack, replace(HEALTHY, ob_stale=None, depth_quality=math.nan, fill_prob=None), 20)
    assert (record.cat3, record.posture) == (1.0, Posture.STALKER)
    assert record.rm == pytest.approx(0.973403, abs=1e-6)
    assert stack.flags == ("no_order_book",)
    assert record.reasons == ("no order-book layer: at most STALKER",)


def test_without_dvol_cat4_is_1_and_posture_at_most_stalker():
    """The sensor is not asked, not even for nonsense; the flag and a reason say so."""
    stack = warm(dvol=False)
    record = run(stack, replace(HEALTHY, t_since_spike_min=math.nan), 20)
    assert (record.cat4, record.posture) == (1.0, Posture.STALKER)
    assert stack.flags == ("no_dvol",)
    assert record.reasons == ("no DVOL: at most STALKER",)


FLOORS = [("mc_orange_floor", {"mc_status": "ORANGE"}), ("ob_stale_floor", {"ob_stale": True})]


@pytest.mark.parametrize(("floor", "change"), FLOORS)
def test_a_floor_lifts_its_one_cause_to_turtle(floor, change):
    """Default HIBERNATE; with the floor TURTLE, named in the flags and in the record; Rm itself stays what it is."""
    sensors = replace(HEALTHY, **change)
    assert run(warm(), sensors, 5).posture is Posture.HIBERNATE
    stack = warm(**{floor: "TURTLE"})
    record = run(stack, sensors, 5)
    assert record.posture is Posture.TURTLE
    assert record.rm == pytest.approx(0.486702, abs=1e-6)
    assert stack.flags == (f"{floor}=TURTLE",)
    assert f"lifted to TURTLE by {floor}" in record.reasons


@pytest.mark.parametrize(("floor", "change"), FLOORS)
@pytest.mark.parametrize("also", [{"drawdown": 0.2}, {"t_since_spike_min": 5.0}, {"hz_nodes": 0.0}, {"kill": True}, {"drawdown": math.nan}])
def test_a_floor_does_not_hide_another_cause(floor, change, also):
    """ORANGE or a stale book together with anything that alone hibernates: HIBERNATE."""
    record = run(warm(**{floor: "TURTLE"}), replace(HEALTHY, **change, **also), 5)
    assert record.posture is Posture.HIBERNATE
    assert not any("lifted" in reason for reason in record.reasons)


def test_both_causes_at_once_are_not_alone():
    """ORANGE with a stale book stays HIBERNATE under both floors."""
    stack = warm(mc_orange_floor="TURTLE", ob_stale_floor="TURTLE")
    assert run(stack, replace(HEALTHY, mc_status="ORANGE", ob_stale=True), 5).posture is Posture.HIBERNATE


def test_a_floor_is_no_way_round_recovery():
    """Cold start under ORANGE with the floor: TURTLE no earlier than a healthy system gets there."""
    stack = SurvivalStack(SurvivalConfig(mc_orange_floor="TURTLE"))
    seen = [run(stack, replace(HEALTHY, mc_status="ORANGE")).posture for _ in range(60)]
    assert seen.index(Posture.TURTLE) + 1 == 40


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mc_orange_floor": "APEX"}, r"mc_orange_floor = 'APEX': expected none or TURTLE"),
        ({"cadence_min": 0.0}, r"cadence_min = 0.0: expected"),
        ({"cadence_min": math.nan}, r"cadence_min = nan: expected"),
    ],
)
def test_a_floor_above_turtle_is_refused(change, message):
    """Name, value and range."""
    with pytest.raises(ConfigError, match=message):
        SurvivalStack(SurvivalConfig(**change))
