"""Replays of a small synthetic market on a virtual clock: scanner and trader, and a teller who says what the other services would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from daemon_worlds import START_MS, World

from daemons.scanner import ScannerService
from daemons.service import Service
from daemons.trader import TraderService
from dolphin.config import Settings, SurvivalConfig, load_profile
from dolphin.deployment import PaperConfig
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.records import table_rows
from dolphin.grid.maps import CONTROL, FEATURES, SAFETY, AcbBoost, Forewarning, Kill, PostureRecord, fields
from dolphin.storage.day_table import list_days, read_day
from dolphin.storage.journal import Kind
from dolphin.storage.klines import KlineBars, write_klines
from dolphin.storage.replay import Replay
from dolphin.storage.schema import date_of
from dolphin.synthetic.market import SyntheticMarket
from dolphin.types import Posture

BOOST, BETA = 1.347, 0.2
PROBABILITY, SCORE = 0.05, 0.4
OWN = (Kind.STARTED, Kind.STOPPED, Kind.RECOVERED, Kind.ROTATED)
"""What each life of a process writes of itself."""


def write_market(folder: Path, *bars: int, assets: int = 14, seed: int = 7) -> Path:
    """Klines of 1 minute from 2025-01-01 on: a day a number, that has so many bars."""
    market = SyntheticMarket(assets, len(bars), 60, seed, "2025-01-01")
    for day, n in zip(market, bars, strict=True):
        blocks = (block[:n] for block in (day.open, day.high, day.low, day.close, day.volume))
        write_klines(folder, KlineBars(day.date, 60, day.ts[:n], market.symbols, *blocks))
    return folder


def settings_of(*, book: bool = False, lane: str = "BLUE", **given: Any) -> Settings:
    """Settings of a lane that trades a lot."""
    busy = {"short_threshold": -0.002, "long_threshold": 0.002, "lookback": 40, "min_irp_alignment": 0.3, "max_hold_bars": 20}
    engine = load_profile("champion", **{**busy, "dc_skip_contradicts": False, **given})
    return Settings(engine=engine, survival=SurvivalConfig(order_book=book), paper=PaperConfig(lanes=lane))


def replay_of(folder: Path, first: str, last: str, speed: float = 6_000.0) -> Replay:
    start = START_MS + (int(first[-2:]) - 1) * 86_400_000
    return Replay(folder=str(folder), first_date=first, last_date=last, start_ms=start, started_monotonic=0.0, speed=speed)


class Teller(Service):
    """Posture, boost, forewarning and kill switch every second, as healthy as they can be; ``silent`` names what is left out."""

    name = "teller"
    every_s = 1.0

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.silent: set[str] = set()
        self.postures: list[tuple[int, Posture]] = [(0, Posture.APEX)]
        self.boosts: list[tuple[int, float, float]] = [(0, BOOST, BETA)]
        self.seq, self.date, self.now_ms = 0, "", context.clock.market_ms

    def step(self) -> None:
        clock, grid = self.context.clock, self.context.grid
        now, wall = self.now_ms(), clock.wall_ms()
        self.seq += 1
        date = self.date or date_of(now)
        posture = next(p for ts, p in reversed(self.postures) if ts <= now)
        boost, beta = next((boost, beta) for ts, boost, beta in reversed(self.boosts) if ts <= now)
        ones = {f"cat{i}": 1.0 for i in range(1, 6)}
        said: dict[str, tuple[str, str, Any]] = {
            "posture": (SAFETY, "latest", PostureRecord(posture=posture, rm=1.0, target=1.0, reasons=(), ts_ms=wall, seq=self.seq, **ones)),
            "acb": (FEATURES, "acb_boost", AcbBoost(ts_ms=wall, boost=boost, beta=beta, signals=1.0, factors={}, w750_vel=None, date=date)),
            "forewarner": (FEATURES, "mc_forewarner", warning(wall, date)),
            "kill": (CONTROL, "kill", Kill(engaged=False, reason="", by="teller", ts_ms=wall)),
        }
        for what, (name, key, record) in said.items():
            if what not in self.silent:
                grid.put(name, key, fields(record))


def warning(wall: int, date: str) -> Forewarning:
    return Forewarning(ts_ms=wall, status="OK", catastrophic_probability=PROBABILITY, envelope_score=SCORE, date=date, model_hash="none")


class Same:
    """A breaker and a forewarner that say what the teller says."""

    catastrophic_probability, envelope_score = PROBABILITY, SCORE

    def get_dynamic_boost_for_date(self, date, ob):
        return {"boost": BOOST, "beta": BETA}

    def assess_config_dict(self, config):
        return self


def deployed(world: World, *, trader: bool = True) -> tuple[Teller, Any, Any]:
    """Teller, scanner and trader of a world."""
    teller, scanner = world.start(Teller), world.start(ScannerService)
    return teller, scanner, world.start(TraderService) if trader else None


def run_out(world: World, seconds: float = 600.0) -> None:
    """Until the replay is over and every record of it is processed."""

    def over() -> bool:
        traders = [r.service for r in world.runners if r.service.name == "trader"]
        scanners = [r.service for r in world.runners if r.service.name == "scanner"]
        done = all(s.status == "ended" for s in scanners)
        head = scanners[0].context.journal.head()[0] if scanners else 0
        return done and all(t.lane.seq == head for t in traders)

    world.run(seconds, until=over)
    assert over(), "the replay did not end"


def engine_run(
    settings: Settings, days: Path, direction: int = -1, *, book: Any = None, told: Any = None, first: int | None = None
) -> NDAlphaEngine:
    """The engine by itself over the day tables of a folder, under the same layers; ``told``: bar records of the first day, whose postures
    and boosts it is given bar by bar."""
    engine = NDAlphaEngine(settings.engine)
    engine.set_acb(Same())
    engine.set_mc_forewarner(Same(), {})
    engine.set_ob_engine(book)
    for path in list_days(days)[: 1 if told else first]:
        rows = table_rows(read_day(path, sidecar=False))
        if not told:
            engine.process_rows(path.stem, rows, direction=direction)
            continue
        engine.begin_day(path.stem, direction, told[0]["posture"])
        engine.set_universe(rows.assets)
        for k, record in enumerate(told):
            engine.update_posture(record["posture"])
            engine.update_acb_boost(record["boost"], record["beta"])
            engine.process_row(rows.closes[k], rows.vel_div[k], rows.v50[k], rows.v750[k], int(rows.ts_ms[k]))
        engine.end_day()
    return engine


def payloads(service: Any, *leave_out: Kind) -> list[tuple[str, int, dict[str, Any]]]:
    """The journal of a service without what each life writes of itself."""
    return [(r.kind, r.ts_ms, r.payload) for r in service.context.journal.records() if r.kind not in {*OWN, *leave_out}]
