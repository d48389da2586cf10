"""A live lane enters nothing while anything that it should know is unknown, stale, hostile or late; exits go on."""

from __future__ import annotations

import numpy as np
import pytest
from lane_worlds import Same, Teller, payloads, settings_of

from daemons.trader import TraderService
from dolphin.engine.nd import NDAlphaEngine
from dolphin.grid.maps import CONTROL, FEATURES, SAFETY, Kill, PostureRecord, fields
from dolphin.storage.journal import Journal, Kind
from dolphin.storage.kill_switch import KillOrder, KillSwitch
from dolphin.telemetry.alerts import AlertKind
from dolphin.types import Posture

MINUTE = 60_000
FIRST = "2025-01-02"


class LiveLane:
    """Bars of the calm day arrive a second after their close, live; ``late`` ms later when told so."""

    def __init__(self, world, scans):
        self.world, self.scans = world, scans
        self.teller, self.trader = world.start(Teller), world.start(TraderService)
        self.feed = Journal.open(world.state.journals / "scanner.sqlite", "scanner")
        self.late_ms = 0

    def play(self, first, end):
        """Rows ``first`` to ``end``, row 0 is the universe; the bar records that the lane made of them."""
        before = self.trader.context.journal.head()[0]
        for record in self.scans[first:end]:
            until = record.ts_ms + 1_000 + self.late_ms if record.kind == Kind.SCAN else 0
            self.pass_to(until)
            self.feed.append(Kind(record.kind), record.payload, record.ts_ms)
            self.pass_to(until + 200)
        return [r.payload for r in self.trader.context.journal.records(after=before) if r.kind == Kind.BAR]

    def pass_to(self, wall_ms):
        clock = self.world.clock
        while clock.wall_ms() < wall_ms:
            clock.advance(min(20.0, (wall_ms - clock.wall_ms()) / 1000.0))
            for runner in self.world.runners:
                runner.turn()


@pytest.fixture(scope="module")
def scans(calm):
    scanner = next(r.service for r in calm.runners if r.service.name == "scanner")
    records = [r for r in scanner.context.journal.records() if r.kind == Kind.UNIVERSE or r.payload.get("date") == FIRST]
    return [r for r in records if r.kind != Kind.DAY_TABLE]


@pytest.fixture
def live(world_of, calm, scans):
    made = []

    def make(**given):
        lane = LiveLane(world_of(settings=settings_of(**given), start_ms=calm.replay.start_ms), scans)
        made.append(lane)
        return lane

    yield make
    for lane in made:
        lane.feed.close()


@pytest.fixture(scope="module")
def calm_bars(calm):
    trader = next(r.service for r in calm.runners if r.service.name == "trader")
    return [p for kind, _, p in payloads(trader) if kind == Kind.BAR and p["date"] == FIRST]


def entry_row(calm_bars, at_least=60):
    """Row of the first entry from a row on."""
    return next(k for k, bar in enumerate(calm_bars, 1) if k >= at_least and bar["entry"])


def entered(bars):
    return [bar["bar"] for bar in bars if bar["entry"]]


def test_a_live_lane_decides_as_the_replay_did(live, calm_bars):
    bars = live().play(0, 161)
    assert [(b["bar"], b["entry"], b["exit"], b["posture"]) for b in bars] == [
        (b["bar"], b["entry"], b["exit"], b["posture"]) for b in calm_bars
    ]
    assert entered(bars)
    assert {tuple(bar["told"]["blocks"]) for bar in bars} == {()}


@pytest.mark.parametrize(
    ("what", "block", "kind"),
    [
        ("posture", "POSTURE_ABSENT", AlertKind.STALE_POSTURE), ("acb", "ACB_UNKNOWN", AlertKind.STALE_GRID),
        ("forewarner", "FOREWARNER_UNKNOWN", AlertKind.STALE_GRID), ("kill", "KILL_UNKNOWN", AlertKind.KILL),
    ],
)  # fmt: skip
def test_nothing_is_entered_while_it_was_never_said(live, what, block, kind):
    lane = live()
    lane.teller.silent.add(what)
    bars = lane.play(0, 161)
    assert len(bars) == 160
    assert not entered(bars)
    assert {tuple(bar["told"]["blocks"]) for bar in bars} == {(block,)}
    assert kind in {alert.kind for alert in lane.world.told}


def test_a_forewarner_that_speaks_in_the_middle_of_the_day_opens_the_next_one_only(live):
    """The engine judges a day once, at its start; until then it counts as RED."""
    lane = live()
    lane.teller.silent.add("forewarner")
    lane.play(0, 50)
    lane.teller.silent.clear()
    bars = lane.play(50, 161)
    assert bars[-1]["told"]["blocks"] == []
    assert not entered(bars)


def test_a_posture_that_went_stale_stops_entries_after_180_s_and_fresh_ones_open_them_again(live, calm_bars):
    lane, row = live(), entry_row(calm_bars, 70)
    lane.play(0, row - 6)
    lane.teller.silent.add("posture")
    bars = lane.play(row - 6, row + 10)
    assert [b["told"]["blocks"] for b in bars][:2] == [[], []]
    assert bars[4]["told"]["blocks"] == ["POSTURE_STALE"]
    assert bars[4]["posture"] == Posture.TURTLE
    assert not entered(bars[4:])
    lane.teller.silent.clear()
    assert entered(lane.play(row + 10, 161))


@pytest.mark.parametrize(
    ("place", "text", "block"),
    [
        ((FEATURES, "acb_boost"), '{"schema":"dolphin.acb/1","ts_ms":9,"boost":99.0}', "ACB_REFUSED"),
        ((FEATURES, "acb_boost"), "\x80\x04 a pickle", "ACB_REFUSED"),
        ((FEATURES, "mc_forewarner"), '{"schema":"dolphin.acb/1","ts_ms":9}', "FOREWARNER_REFUSED"),
        ((SAFETY, "latest"), '{"schema":"dolphin.posture/1","ts_ms":9,"posture":"FULL_STEAM"}', "POSTURE_WRONG_FIELDS"),
        ((CONTROL, "kill"), "[1]", "KILL"),
    ],
)
def test_hostile_values_stop_entries(live, calm_bars, place, text, block):
    lane, row = live(), entry_row(calm_bars)
    lane.play(0, row - 3)
    lane.teller.silent |= {"posture", "acb", "forewarner", "kill"}
    lane.world.grid.plant(*place, text)
    bars = lane.play(row - 3, row + 1)
    assert block in bars[0]["told"]["blocks"]
    assert all(bar["told"]["blocks"] for bar in bars)
    assert not entered(bars)


def test_an_older_posture_does_not_come_back(live):
    """A TURTLE record stands; an APEX one with a lower number is refused."""
    lane = live()
    lane.teller.postures = [(0, Posture.TURTLE)]
    lane.play(0, 60)
    lane.teller.silent.add("posture")
    ones = {f"cat{i}": 1.0 for i in range(1, 6)}
    now = lane.world.clock.wall_ms()
    old = PostureRecord(posture=Posture.APEX, rm=1.0, target=1.0, reasons=(), ts_ms=now, seq=lane.teller.seq - 1, **ones)
    lane.world.grid.put(SAFETY, "latest", fields(old))
    assert {bar["posture"] for bar in lane.play(60, 63)} == {"TURTLE"}


def test_bars_that_come_late_are_processed_in_order_and_enter_nothing(live, calm_bars):
    lane, row = live(), entry_row(calm_bars)
    lane.play(0, row - 2)
    lane.late_ms = 4 * MINUTE
    bars = lane.play(row - 2, row + 12)
    assert [bar["bar"] for bar in bars] == list(range(bars[0]["bar"], bars[0]["bar"] + 14))
    assert {tuple(bar["told"]["blocks"]) for bar in bars} == {("LATE",)}
    assert not entered(bars)
    assert AlertKind.STALE_FEED in {alert.kind for alert in lane.world.told}


@pytest.mark.parametrize("way", ["file", "grid"])
def test_the_kill_switch_closes_the_position_on_the_next_bar(live, calm_bars, way):
    lane, row = live(), entry_row(calm_bars)
    lane.play(0, row + 1)
    assert lane.trader.lane.engine.position is not None
    switch = KillSwitch(lane.world.state.kill)
    if way == "file":
        switch.engage(KillOrder(reason="test", by="me", ts_ms=lane.world.clock.wall_ms()))
    else:
        lane.teller.silent.add("kill")
        stop = Kill(engaged=True, reason="test", by="me", ts_ms=lane.world.clock.wall_ms())
        lane.world.grid.put(CONTROL, "kill", fields(stop))
    bar = lane.play(row + 1, row + 2)[0]
    assert bar["exit"]["reason"] == "HIBERNATE_HALT"
    assert bar["posture"] == "HIBERNATE"
    assert not entered(lane.play(row + 2, row + 30))
    if way == "file":
        switch.release("over")
    lane.teller.silent.clear()
    assert entered(lane.play(row + 30, 161))


def test_exits_go_on_while_entries_are_stopped(live, calm_bars):
    lane, row = live(), entry_row(calm_bars)
    lane.play(0, row + 1)
    lane.teller.silent |= {"posture"}
    lane.world.grid.delete(SAFETY, "latest")
    bars = lane.play(row + 1, row + 30)
    assert [bar["exit"]["asset"] for bar in bars if bar["exit"]] == [calm_bars[row - 1]["entry"]["asset"]]
    assert not entered(bars)


def test_a_changed_universe_is_followed_as_by_the_engine(live, scans):
    """Two assets leave in the middle of the day, a new one joins; a restart in between changes nothing."""
    lane = live()
    names, closes = scans[0].payload["assets"], [np.array([np.nan if v is None else v for v in r.payload["closes"]]) for r in scans[1:]]
    later = [*names[2:], "NEWCOMERUSDT"]
    lane.play(0, 80)
    lane.feed.append(Kind.UNIVERSE, {"assets": later, "bar_seconds": 60}, scans[79].ts_ms)
    for record, row in zip(scans[80:], closes[79:], strict=True):
        told = [None if np.isnan(v) else v for v in [*row[2:].tolist(), row[0]]]
        lane.pass_to(record.ts_ms + 1000)
        lane.feed.append(Kind.SCAN, {**record.payload, "closes": told}, record.ts_ms)
        if record is scans[100]:
            lane.world.end(lane.trader, killed=True)
            lane.trader = lane.world.start(TraderService)
    lane.pass_to(scans[-1].ts_ms + 2000)
    engine = NDAlphaEngine(lane.world.settings.engine)
    engine.set_acb(Same())
    engine.set_mc_forewarner(Same(), {})
    engine.begin_day(FIRST)
    engine.set_universe(names)
    for k, record in enumerate(scans[1:]):
        if k == 79:
            engine.set_universe(later)
        row = closes[k] if k < 79 else np.array([*closes[k][2:], closes[k][0]])
        signals = [np.nan if v is None else v for v in (record.payload["vel_div"], *record.payload["velocity"][::3])]
        engine.process_row(row, *signals, record.ts_ms)
    assert engine.trades
    assert lane.trader.lane.engine.trades == engine.trades
    assert lane.trader.lane.engine.position == engine.position
