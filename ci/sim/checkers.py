"""The laws, watched while a simulation runs and proven from its journals afterwards. Each is shown to bite in test_simulation.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from daemons.system_watchdog import SystemWatchdog
from dolphin.engine.survival import recover
from dolphin.forewarner.daily import day_before
from dolphin.grid.maps import FEATURES, HEARTBEAT, SAFETY, PostureRecord
from dolphin.grid.port import pnl_map
from dolphin.grid.record import Raw, decode
from dolphin.grid.safety import LATEST, parse_posture
from dolphin.storage.journal import Entry, JournalReader, Kind, journal_files
from dolphin.types import Posture
from sim.market import BAR_S
from sim.records import journals_hold
from sim.topology import KINDS, Process, World
from sim.truth import MAY_ENTER, Truth

__all__ = ["Checkers"]

LOST_MS: Final = 35_000
"""HIBERNATE comes so long after the last heartbeat, or the last word of the grid."""
SLACK_MS: Final = 1_500
"""A turn's length in these simulations, and some."""
HEARD_MS: Final = 5_000 + SLACK_MS
"""A trader that hears no events reads the grid as often."""
OLD_MS: Final = 180_000
MOST: Final = 3
"""Violations of one law that are kept."""


class Checkers:
    """``violations``: law and what broke it."""

    def __init__(self, world: World) -> None:
        self.world, self.violations = world, list[str]()
        self.truth = Truth(world)
        self._posture: dict[str, tuple[int, int, float]] = {}
        self._drawdowns: list[tuple[int, float]] = []
        self._told_ms = 0
        self._daily_ms, self._misjudged = 0, False
        """When a record of the day was last told; whether a watchdog's clock was ever wrong: what came then stays as old as it seemed."""
        self._published = (0, 0)
        self._jumped = False
        self._held_since: dict[int, int] = {}
        world.listeners.append(self._durable)
        world.members.seen.append(self._stored)

    def broken(self, law: str, what: str) -> None:
        """Note a violation."""
        if sum(known.startswith(f"{law}:") for known in self.violations) < MOST:
            self.violations.append(f"{law}: at {self.world.clock.now_ms / 1000.0:.3f} s {what}")

    @staticmethod
    def heads(root: Path) -> Iterator[tuple[str, str, str]]:
        """Host, writer, and hash of the newest record of every journal."""
        for folder in sorted(root.iterdir()):
            for path in journal_files(folder / "journal"):
                with JournalReader(path) as journal:
                    yield folder.name, journal.writer, journal.head()[1]

    def look(self) -> None:
        """Laws of time: asked every 5 s."""
        world, now = self.world, self.world.clock.now_ms
        self._jumped |= any(process.jump_ms for process in world.processes)
        self._misjudged |= any(process.jump_ms for process in world.processes if process.name == "system_watchdog")
        for process in world.processes:
            service = process.service
            if isinstance(service, SystemWatchdog):
                fence = service._tenure.fence
                key = hash((process.born_ms, process.rank, fence))
                since = self._held_since.setdefault(key, now)
                calm = min(now - since, now - process.born_ms, now - process.frozen_ms, now - process.clock.right_ms) > LOST_MS + HEARD_MS
                if fence and calm and not process.fuse and not process.jump_ms:
                    self._hibernates(process, service)

    def _hibernates(self, process: Process, watchdog: SystemWatchdog) -> None:
        """A watchdog that nothing hinders says HIBERNATE 35 s after it can no longer hear a service, or the grid."""
        now, link, record = self.world.clock.now_ms, process.link, watchdog._record
        said = record.posture if record is not None else None
        if link.fault.cut or self.world.members.away:
            if now - link.answered_ms > LOST_MS + SLACK_MS and said not in (None, Posture.HIBERNATE):
                self.broken("hibernate", f"the grid is lost for {(now - link.answered_ms) / 1000} s, the watchdog says {said}")
            return
        if link.fault.any or now - link.clean_ms < LOST_MS + HEARD_MS:
            return
        for name in self.world.settings.services.required.split(","):
            age = now - self.truth.beats.get(name.strip(), 0)
            if age > LOST_MS + SLACK_MS and said not in (None, Posture.HIBERNATE):
                self.broken("hibernate", f"no heartbeat of {name} for {age / 1000} s, the watchdog says {said}")

    def _durable(self, process: Process, entries: Sequence[Entry], seqs: Sequence[int]) -> None:
        for entry in entries:
            if entry.kind is Kind.BAR:
                self._bar(process, entry)
            elif entry.kind is Kind.SCAN and process.name == "scanner":
                self._scanned(entry, self._market(process))
            elif entry.kind is Kind.POSTURE:
                self._judged(process, entry.payload)
            elif entry.kind in (Kind.ACB_BOOST, Kind.MC_FOREWARNER):
                self._daily_ms = self.world.clock.now_ms
            elif entry.kind is Kind.SAFE_MODE and entry.payload["engaged"]:
                self.broken("decisions", f"safe mode: {entry.payload['reason']}")

    def _bar(self, process: Process, entry: Entry) -> None:
        """A decision, when it is taken."""
        told, payload = msgspec.to_builtins(entry.payload["told"]), entry.payload
        now, host = self.world.clock.now_ms, process.host
        market = max(self._market(process), self._told_ms)
        if entry.ts_ms > market:
            self.broken("future", f"a bar of {entry.ts_ms} is decided at {market}")
        if host.state.kill.exists() and told["posture"] != Posture.HIBERNATE:
            self.broken("kill", f"the switch is engaged, a bar is decided under {told['posture']}")
        lost = now - process.link.answered_ms
        if lost > LOST_MS + SLACK_MS and told["posture"] != Posture.HIBERNATE:
            self.broken("hibernate", f"the trader heard nothing of the grid for {lost / 1000} s and decides under {told['posture']}")
        if payload["entry"] is not None:
            for why in self._blind(process, told, payload["date"]):
                self.broken("blind", f"entered on {payload['date']} bar {payload['bar']}: {why}")

    def _scanned(self, entry: Entry, market_ms: int) -> None:
        """A scan; a process may be into its turn, and ahead of the world's clock, when it tells the others."""
        self._told_ms = max(self._told_ms, market_ms)
        if entry.ts_ms > market_ms:
            self.broken("future", f"a bar of {entry.ts_ms} is scanned at {market_ms}")

    def _market(self, process: Process) -> int:
        return self.world.market_ms(process.clock.ahead_s)

    def _blind(self, process: Process, told: dict[str, Any], date: str) -> Iterator[str]:
        """Why this entry should not have been, by what the trader read and by what was the case."""
        now, link = self.world.clock.now_ms, process.link
        if told.get("blocks") or told["posture"] not in MAY_ENTER:
            yield f"its own inputs: {told['posture']} {told.get('blocks')}"
        if any(told.get(name) is None for name in ("boost", "beta", "probability")):
            yield "its own inputs know no boost or no forewarning"
        if date not in self.truth.boosted:
            yield "no boost of this day was ever said"
        if not {date, day_before(date)} & self.truth.warned:
            yield "no forewarning of this day or the one before was ever said"
        right = not self._jumped
        if right and not self.truth.postures(now - OLD_MS - HEARD_MS) & set(MAY_ENTER):
            yield "for 180 s no posture allowed it"
        clean = not link.fault.any and not self.world.members.away and now - link.clean_ms > HEARD_MS
        if clean and now - process.frozen_ms > HEARD_MS and not self.truth.postures(now - HEARD_MS) & set(MAY_ENTER):
            yield f"the grid said {self.truth.held[-1][1]}"

    def _judged(self, process: Process, payload: Any) -> None:
        """Numbers of a writer grow, and Rm rises no faster than the law."""
        key = f"{process.host.name}/{process.name}"
        fence, seq, rm = self._posture.get(key, (0, 0, 0.0))
        if (payload["fence"], payload["seq"]) <= (fence, seq) or payload["seq"] <= seq:
            self.broken("sequence", f"posture {payload['fence']}/{payload['seq']} follows {fence}/{seq}")
        most = recover(rm, payload["target"], 2.0 * self.world.settings.survival.cadence_min, self.world.settings.survival.cadence_min)
        if payload["rm"] > max(most, 0.0) + 1e-9:
            self.broken("recovery", f"Rm rises from {rm} to {payload['rm']}, target {payload['target']}")
        self._posture[key] = payload["fence"], payload["seq"], payload["rm"]
        self._drawdowns.append((self.world.clock.now_ms, payload["cat5"]))

    def _stored(self, name: str, key: str, raw: Raw) -> None:
        """A posture that the grid takes: journalled before, and never older than what was there."""
        if name != SAFETY or key != LATEST or raw is None:
            return None
        record = parse_posture(decode(raw))
        if not isinstance(record, PostureRecord):
            return None
        order = (record.fence, record.seq)
        known = {(at[0], at[1]) for at in self._posture.values()}
        if order not in known:
            return self._not_journalled(record)
        if order < self._published and not self._jumped:
            self.broken("sequence", f"posture {order} is published after {self._published}")
        self._published = order
        return None

    def _not_journalled(self, record: PostureRecord) -> None:
        if not self.world.members.planting:
            self.broken("journal first", f"posture {record.fence}/{record.seq} {record.posture} is published, no journal's newest")

    def at_the_end(self, peace_ms: int) -> None:
        """Everything is well again, and the posture as high as the law allows so long after. Drawdown, Cat5, is no illness."""
        world, now = self.world, self.world.clock.now_ms
        for process in world.processes:
            beat = now - self.truth.beats.get(process.name, -(10**9))
            status = process.service.status if process.service is not None else "down"
            if beat > 10_000 or status in ("down", "standby", "safe_mode", "no_grid", "bad_source", "connecting", "loading"):
                self.broken("liveness", f"{process.name} is {status}, its last heartbeat {beat / 1000} s old")
        held = parse_posture(world.members.read(SAFETY, LATEST).record)
        if not isinstance(held, PostureRecord):
            self.broken("liveness", f"the posture is {held}")
            return
        config = world.settings.survival
        calm_ms = now - (max(peace_ms, self._daily_ms) if self._misjudged else peace_ms) - 90_000
        lowest = min([held.target, *(cat5 for at, cat5 in self._drawdowns if at >= now - calm_ms)])
        least = 0.0
        for _ in range(int(calm_ms / 60_000.0 * world.speed / config.cadence_min)):
            least = recover(least, lowest, config.cadence_min, config.cadence_min)
        if min(held.cat1, held.cat2, held.cat3, held.cat4) < 0.99 or held.rm < least - 1e-9:
            self.broken("liveness", f"Rm {held.rm:.3f} < {least:.3f} by the law, or not all is well: {held}")
        if least >= 0.9 and held.posture != (Posture.APEX if config.order_book else Posture.STALKER):
            self.broken("liveness", f"Rm {held.rm:.3f} is {held.posture}")
        self._up_to_date()

    def _up_to_date(self) -> None:
        """The trader has decided every bar, and the grid knows its days."""
        scans = [ts for ts, _ in self.world.market.scans if ts <= self.world.market_ms() - 2_000 * BAR_S]
        trader: Any = self.world.process("trader").service
        if trader is None:
            return
        if trader.lane.engine.bar_count < len(scans):
            self.broken("liveness", f"{trader.lane.engine.bar_count} bars are decided, {len(scans)} have closed")
        for record in trader.context.journal.records(Kind.DAY_RESULT):
            if self.world.members.read(pnl_map(-1), record.payload["date"]).record != record.payload:
                self.broken("trades", f"the grid has no result of {record.payload['date']}")
        for name in KINDS:
            if not any(entry.key.startswith(f"{name}:") for entry in self.world.members.entries(HEARTBEAT)):
                self.broken("liveness", f"the grid knows no heartbeat of {name}")
        for key in ("acb_boost", "mc_forewarner", "scan_latest", "lane_BLUE"):
            if self.world.members.read(FEATURES, key).record is None:
                self.broken("liveness", f"the grid holds no {key}")

    def afterwards(self) -> list[str]:
        """Everything that was found, journals included."""
        for law, what in journals_hold(self.world):
            self.broken(law, what)
        return self.violations
