"""A live scanner in a process of its own, to be killed: ``python -m live_process ROOT URL START_MS STARTED SPEED BAR_SECONDS``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from daemon_worlds import World

from daemons.clock import RealClock
from daemons.scanner import ScannerService
from dolphin.config import Settings
from dolphin.deployment import FeedConfig
from dolphin.storage.market_clock import MarketClock


def main() -> None:
    """Until somebody ends it."""
    root, url, start_ms, started, speed, bar_seconds = sys.argv[1:]
    feed = FeedConfig(url=url, grace_ms=500, bar_seconds=5 if bar_seconds == "5" else 60)
    world = World(Path(root), settings=Settings(feed=feed))
    world.clock = RealClock(MarketClock(start_ms=int(start_ms), started_monotonic=float(started), speed=float(speed)))
    world.start(ScannerService)
    while True:
        time.sleep(max(0.0, min(0.05, world.runners[0].turn())))


if __name__ == "__main__":
    main()
