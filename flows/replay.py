"""What `dolphin up` replays: recorded or synthetic days with their books, and a forewarner that is trained where none was given."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from dolphin.config import Settings, config_hash
from dolphin.errors import ConfigError, QualityError
from dolphin.storage.klines import KlineStore
from dolphin.storage.replay import Replay
from dolphin.storage.schema import day_start
from flows.workspace import cache_folder

__all__ = ["absent_layers", "planned_replay", "trained_forewarner", "with_sources"]

type Track = Callable[[Iterable[Any], int, str], Iterable[Any]]

MOST_SPEED: Final = 100_000.0
TRIALS: Final = 1024
PATH_DAYS: Final = 5
BLOCK_DAYS: Final = 2.0
SEED: Final = 7
TRAINING_DAYS: Final = 12
"""Days of the synthetic market that a forewarner is trained on, when the replay itself is synthetic."""


def planned_replay(klines: Path, first: str, last: str, speed: float) -> Replay:
    """The days from ``first`` to ``last`` of a folder; the clock starts when it is written.

    Without ``last`` to the folder's last day; without ``first`` from its second day, where there are two: the first one warms up the
    scanner's windows, and in its condition the forewarner judges the second.

    Raises ``QualityError`` when there is no such day, ``ConfigError`` for a speed that is none.
    """
    if not 0.0 < speed <= MOST_SPEED:
        raise ConfigError(f"--speed {speed:g}: expected a number above 0, at most {MOST_SPEED:g}")
    dates = [date for date in KlineStore(klines).dates() if (not first or date >= first) and (not last or date <= last)]
    if not dates:
        raise QualityError(
            f"no day from {first or 'the first'} to {last or 'the last'}", path=klines, hint="`dolphin data list` says what is there"
        )
    dates = dates[1:] if not first and len(dates) > 1 else dates
    start = day_start(dates[0])
    return Replay(
        folder=str(klines.resolve()), first_date=dates[0], last_date=dates[-1], start_ms=start, started_monotonic=0.0, speed=speed
    )


def with_sources(settings: Settings, given: Mapping[str, Path | None]) -> Settings:
    """The settings with the given macro, book and forewarner sources, as absolute paths: processes must not depend on where they run."""
    paths = settings.paths
    named = {
        name: path if path is not None else Path(getattr(paths, name)) if getattr(paths, name) else None for name, path in given.items()
    }
    changed = {name: str(path.resolve()) if path is not None else "" for name, path in named.items()}
    return msgspec.structs.replace(settings, paths=msgspec.structs.replace(paths, **changed))


def absent_layers(settings: Settings, *, live_book: bool = False) -> tuple[Settings, list[str]]:
    """The settings with the layers off that have no source, and a line for each: a sensor that is not there is not one that fails.

    ``live_book``: the books are the exchange's.
    """
    survival, lines = settings.survival, []
    for name, source, what in (("dvol", "macro", "no DVOL (--macro DIR)"), ("order_book", "book", "no order books (--book DIR)")):
        if getattr(survival, name) and not getattr(settings.paths, source) and not (source == "book" and live_book):
            survival = msgspec.structs.replace(survival, **{name: False})
            lines.append(f"{what}: survival.{name} = false, posture at most STALKER (leverage at most 2)")
    return msgspec.structs.replace(settings, survival=survival), lines


def trained_forewarner(settings: Settings, klines: Path | None, track: Track, tell: Callable[[str], None]) -> Path:
    """A small table of trials from the cache, trained when it is not there: over ``klines``, or a synthetic market of 12 days.

    ``tell`` hears which of the two it is.

    Raises ``QualityError`` for fewer days than trials need, ``MissingDependency`` without the extra ``forewarner``.
    """
    from dolphin.forewarner.model import require_libraries
    from flows.backtest import day_files
    from flows.forewarner import Training, plan_trials, train
    from flows.scans import cached_scan
    from flows.synth import cached_market

    require_libraries()
    if klines is None:
        longer = msgspec.structs.replace(settings.synthetic, days=max(TRAINING_DAYS, settings.synthetic.days))
        klines = cached_market(msgspec.structs.replace(settings, synthetic=longer), track)
    folder, _ = cached_scan(KlineStore(klines), settings, "", "", track=track)
    files = day_files(folder, "", "")
    plan = plan_trials(files, settings.engine, seed=SEED, path_days=PATH_DAYS, block_days=BLOCK_DAYS)
    name = hashlib.sha256(f"{plan.digest}|{config_hash(settings.engine)}|{TRIALS}".encode()).hexdigest()[:24]
    table = cache_folder(settings.paths, "forewarner") / f"{name}.parquet"
    what = f"{TRIALS:,} trials over {len(files)} days, those that are replayed among them: a rehearsal"
    if table.is_file():
        tell(f"no --forewarner: the table in the cache ({what})")
    else:
        tell(f"no --forewarner: training one, once ({what}); it is kept as {table}")
        train(Training(tuple(files), plan, TRIALS), table, track)
    return table
