"""A paper lane killed at every kind of durable step, by os._exit in a process of its own: ``PYTHONPATH=ci python ci/faults/lane_kills.py [CASES]``.

Each case is a fresh lane over the same short day. Its first life ends at durable step k of its journal: just before the write, inside the
transaction, or just after the commit; its second life at a random later step of its own, its third goes to the end. The journal must then
be that of a lane that nothing has happened to, record by record. Prints a line a case and exits 1 when one differs.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from crash_points import copy_scans
from daemon_worlds import World
from lane_worlds import OWN, Teller, deployed, replay_of, run_out, settings_of, write_market

import actors.paper  # noqa: F401  every life begins with it imported
import daemons.trader
from daemons.runner import Runner
from daemons.trader import PaperTrader
from dolphin.storage.journal import Journal, JournalReader, Kind

DAY = "2025-01-02"
POINTS = ("before", "inside", "after")
KILLED = 137


class FragileJournal(Journal):
    """Ends the process at a durable step. ``left`` None: never."""

    left: int | None = None
    point = "after"

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._burn("before")
        with super()._transaction():
            yield
            self._burn("inside")
        self._burn("after")

    def _burn(self, point: str) -> None:
        if self.left is None or point != self.point:
            return
        self.left -= 1
        if self.left == 0:
            os._exit(KILLED)


def life(root: Path, market: Path, left: int | None, point: str, at_once: int) -> int:
    """One process over the day; its exit code: 0 at the end, 137 killed."""
    pid = os.fork()
    if pid == 0:
        daemons.trader.AT_ONCE = at_once
        world = World(root, settings_of(), replay_of(market, DAY, DAY))
        world.start(Teller).date = DAY
        context = world.context(PaperTrader)
        context.journal.__class__ = FragileJournal
        context.journal.left, context.journal.point = left, point
        trader = PaperTrader(context)
        world.runners.append(Runner(trader))
        world.run(600, until=lambda: trader.lane.done == DAY and trader._log.seq == trader.lane.seq)
        world.run(1)
        os._exit(0 if trader.lane.done == DAY else 3)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def records(root: Path) -> list[Any]:
    with JournalReader(root / "journal" / "trader_blue.sqlite") as journal:
        assert journal.verify().ok
        return [(r.kind, r.ts_ms, r.payload) for r in journal.records() if r.kind not in OWN]


def steps_of(root: Path) -> int:
    """Durable steps of an undisturbed life, about."""
    with JournalReader(root / "journal" / "trader_blue.sqlite") as journal:
        return sum(r.kind in (Kind.BAR, Kind.ORDER_INTENT) for r in journal.records())


def main(points: int) -> int:
    rng, failed, began = random.Random(7), 0, time.monotonic()
    with TemporaryDirectory(prefix="dolphin-kills-") as name:
        folder = Path(name)
        market = write_market(folder / "market", 1440, 160)
        scanned = World(folder / "scanned", settings_of(), replay_of(market, DAY, DAY))
        deployed(scanned, trader=False)
        run_out(scanned)
        seed = folder / "seed"
        (seed / "journal").mkdir(parents=True)
        copy_scans(scanned, seed / "journal")
        scanned.close()
        calm = shutil.copytree(seed, folder / "calm")
        assert life(calm, market, None, "after", 64) == 0
        wanted, most = records(calm), steps_of(calm)
        for case in range(points):
            point, at_once = POINTS[case % 3], (1, 64)[case // 3 % 2]
            step = rng.randrange(1, most if at_once == 1 else most // 12)
            root = shutil.copytree(seed, folder / f"case-{case}")
            ends = [life(root, market, step, point, at_once), life(root, market, rng.randrange(1, 40), rng.choice(POINTS), at_once)]
            ends.append(life(root, market, None, point, at_once))
            found = records(root)
            same = found == wanted and ends[-1] == 0
            failed += not same
            print(
                f"{case:>3} {point:<7} step {step:>4}, {at_once:>2} a write: lives ended {ends}, {len(found)} records {'equal' if same else 'DIFFER'}"
            )
            shutil.rmtree(root)
    print(f"{points - failed} of {points} cases end in the undisturbed journal ({time.monotonic() - began:.0f} s)")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60))
