"""The whole deployment under seeded faults: every law holds, a seed reproduces, and each checker bites when its law is broken."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from sim.__main__ import HOURS, MEMORY, START_HOUR
from sim.faults import Fault
from sim.market import market_of
from sim.run import SOAK_HOURS, Plan, plan_of, run, soak_plan

import dolphin.grid.view
import dolphin.storage.journal
import dolphin.storage.lock
from daemons.bars import KlineReplay
from daemons.gate import Gate
from daemons.heartbeats import Heartbeats
from daemons.outbox import Outbox
from daemons.system_watchdog import SystemWatchdog
from dolphin.engine.survival import SurvivalStack
from dolphin.lane.lane import Lane
from dolphin.storage.journal import Kind
from dolphin.storage.kill_switch import KillSwitch
from dolphin.types import Posture

SEEDS = 200
GROUP = 20


@pytest.fixture(scope="module")
def folder():
    with TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None, prefix="dolphin-sim-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def market(folder):
    return market_of(folder / "market", START_HOUR, HOURS)


@pytest.fixture
def play(folder, market):
    """Run a plan in a folder of its own."""

    def run_plan(plan):
        with TemporaryDirectory(dir=folder) as root:
            return run(plan, market, Path(root))

    return run_plan


@pytest.mark.parametrize("first", range(0, SEEDS, GROUP))
def test_under_seeded_faults_every_law_holds(play, first):
    """What a failing seed did is shown by ``cd ci && python -m sim --seed N``."""
    failed = {seed: outcome.violations for seed in range(first, first + GROUP) if (outcome := play(plan_of(seed))).violations}
    assert not failed


def test_a_seed_reproduces_bit_for_bit(play):
    outcomes = [play(plan_of(seed)) for seed in (5, 24, 5, 24)]
    digests = [outcome.digest for outcome in outcomes]
    assert digests[:2] == digests[2:]
    assert digests[0] != digests[1]


def too_early(closed):
    return lambda self, market_ms: closed(self, market_ms + 600_000)


def slowly(evaluate):
    return lambda self, sensors, minutes, ts_ms: evaluate(self, sensors, minutes / 8.0, ts_ms)


def unlocked(*_):
    """Everybody gets the lock."""


@pytest.mark.soak
@pytest.mark.parametrize(
    ("hours", "speed", "order_book"), [(8, 1.0, False), (SOAK_HOURS, 12.0, True)], ids=["8 h live", "48 h replay with books"]
)
def test_a_long_run_of_all_daemons_with_a_fault_every_few_minutes(folder, hours, speed, order_book):
    with TemporaryDirectory(dir=folder) as name:
        market = market_of(Path(name) / "market", 0, hours + 1)
        (Path(name) / "run").mkdir()
        outcome = run(soak_plan(1, hours, speed, order_book=order_book), market, Path(name) / "run")
    assert not outcome.violations
    assert sum(outcome.counts["faults"].values()) >= 30


@dataclass(frozen=True)
class Mutation:
    """``law`` is the one whose checker must bite when ``breaks`` is done to the program."""

    law: str
    breaks: Callable[[pytest.MonkeyPatch], None]
    faults: tuple[Fault, ...] = ()


def changed(owner: Any, name: str, change: Callable[[Any], Callable[..., Any]]) -> Callable[[pytest.MonkeyPatch], None]:
    """Replace ``owner.name`` by ``change`` of what it was."""
    return lambda patch: patch.setattr(owner, name, change(getattr(owner, name)))


def more_profit(trades):
    def told(self, before, ts_ms):
        return [replace(e, payload={**e.payload, "net_pnl": e.payload["net_pnl"] + 1.0}) for e in trades(self, before, ts_ms)]

    return told


def always_entered(take):
    def taken(self, bar, inputs):
        entries = take(self, bar, inputs)
        return [replace(e, payload={**e.payload, "entry": e.payload["entry"] or {}}) if e.kind is Kind.BAR else e for e in entries]

    return taken


def reckless(read):
    return lambda self, *given: msgspec.structs.replace(read(self, *given), posture=Posture.APEX)


def unfounded(read):
    """A gate that doubts nothing, and says so."""
    known = {"posture": Posture.APEX, "blocks": (), "boost": 1.0, "beta": 0.2, "probability": 0.01, "score": 1.0}
    return lambda self, *given: msgspec.structs.replace(read(self, *given), **known)


def counting_anew(evaluate):
    def evaluated(self, *given):
        self.seq = 0
        return evaluate(self, *given)

    return evaluated


def at_once(evaluate):
    def evaluated(self, *given):
        record = evaluate(self, *given)
        self.course = self.course._replace(rm=record.target)
        return msgspec.structs.replace(record, rm=record.target)

    return evaluated


def another_record(evaluate):
    def evaluated(self, *given):
        evaluate(self, *given)
        self._record = msgspec.structs.replace(self._record, seq=self._record.seq + 1000)

    return evaluated


def twice_a_day(close):
    def closed(self, ts_ms):
        entries = close(self, ts_ms)
        return [*entries, *(entry for entry in entries if entry.kind is Kind.DAY_RESULT)]

    return closed


def forged(chain):
    return lambda before, seq, *given: b"\0" * 32 if seq == 9 else chain(before, seq, *given)


def moody(take):
    """Decides by something that is in no journal."""
    calls = count()
    return lambda self, bar, inputs: take(self, bar if next(calls) % 7 else replace(bar, vel_div=-0.06, closes=bar.closes * 1.01), inputs)


def unwarmed(begin):
    def begun(self, date=""):
        begin(self, date)
        return []

    return begun


LONG_MS = 240_000
AWAY = Fault(5_000, "grid away, sometimes back empty", "", LONG_MS, 0)
NO_WATCHDOG = Fault(5_000, "kill -9", "system_watchdog", LONG_MS, 0)
KILL_SWITCH = Fault(100_000, "kill switch", "", 30_000, 1)
NO_SCANNER = Fault(120_000, "kill -9", "scanner", 70_000, 0)
FROZEN = Fault(121_000, "freeze", "ob_stream", 70_000, 0)
CUT = Fault(120_000, "link cut", "trader", 80_000, 0)
NEW_SCANNER = Fault(90_000, "kill -9", "scanner", 3_000, 0)
EMPTIED = Fault(249_000, "grid emptied", "", 0, 0)
TWINS = Fault(90_000, "second process, same host", "trader", 0, 0)
MUTATIONS = {
    "a profit that the capital does not know": Mutation("capital", changed(Lane, "_trades", more_profit)),
    "a second position": Mutation("position", changed(Lane, "take", always_entered)),
    "entries whatever is doubted": Mutation("blind", changed(Gate, "read", reckless), (AWAY,)),
    "doubts that are not journalled": Mutation("blind", changed(Gate, "read", unfounded), (NO_WATCHDOG,)),
    "a kill switch that nobody reads": Mutation("kill", changed(KillSwitch, "engaged", lambda _: lambda self: False), (KILL_SWITCH,)),
    "heartbeats that never age": Mutation("hibernate", changed(Heartbeats, "age_s", lambda _: lambda self, name: 0.0), (NO_SCANNER,)),
    "heartbeats that count from when they are seen": Mutation(
        "hibernate", lambda p: p.setattr("daemons.heartbeats.LOOK_S", 0.0), (FROZEN,)
    ),
    "a lost grid that is trusted": Mutation("hibernate", lambda p: p.setattr(dolphin.grid.view, "LOST_S", 1e9), (CUT,)),
    "numbers that begin anew": Mutation("sequence", changed(SurvivalStack, "evaluate", counting_anew)),
    "Rm that rises at once": Mutation("recovery", changed(SurvivalStack, "evaluate", at_once)),
    "a posture that no journal has": Mutation("journal first", changed(SystemWatchdog, "_evaluate", another_record)),
    "a bar before its close": Mutation("future", changed(KlineReplay, "closed", too_early)),
    "a day closed twice": Mutation("days", changed(Lane, "_close_day", twice_a_day)),
    "a trade lost": Mutation("trades", changed(Lane, "_trades", lambda _: lambda self, before, ts_ms: [])),
    "a record forged": Mutation("journal", changed(dolphin.storage.journal, "chain", forged)),
    "a decision by whim": Mutation("decisions", changed(Lane, "take", moody)),
    "a scanner that comes back cold": Mutation("scans", changed(KlineReplay, "begin", unwarmed), (NEW_SCANNER,)),
    "an emptied grid that stays empty": Mutation("liveness", changed(Outbox, "renew", lambda _: lambda self: None), (EMPTIED,)),
    "a recovery that takes too long": Mutation("liveness", changed(SurvivalStack, "evaluate", slowly)),
    "two processes on one state folder": Mutation("crashed", lambda p: p.setattr(dolphin.storage.lock.fcntl, "flock", unlocked), (TWINS,)),
}


def quiet_plan(*faults: Fault) -> Plan:
    order = ("acb_processor", "ob_stream", "system_watchdog", "mc_forewarner", "scanner", "trader")
    return Plan(0, order, (0, 600, 0, 0, 0, 0), faults, order_book=False)


def test_without_a_mutation_the_same_faults_break_no_law(play):
    faults = {fault for mutation in MUTATIONS.values() for fault in mutation.faults}
    broken = {str(fault): outcome.violations for fault in sorted(faults, key=str) if (outcome := play(quiet_plan(fault))).violations}
    assert not broken


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_a_checker_bites_when_its_law_is_broken(play, monkeypatch, mutation):
    with monkeypatch.context() as patch:
        mutation.breaks(patch)
        outcome = play(quiet_plan(*mutation.faults))
    assert mutation.law in {violation.split(":")[0] for violation in outcome.violations}, outcome.violations
