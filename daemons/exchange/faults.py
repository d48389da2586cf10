"""Faults on request: what can go wrong at an exchange, begun by ``POST /demo/faults`` or at a time from a file, seeded and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct

from dolphin.errors import ConfigError

__all__ = ["Fault", "Faults", "read_faults"]

Kind = Literal[
    "clock_skew", "delist", "disconnect", "duplicate", "list", "lost_ack", "maintenance", "out_of_order", "partial_fills", "rate_limit",
    "server_error", "stale",
]  # fmt: skip


class Fault(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One fault.

    disconnect: websockets are cut, new ones refused while it lasts. duplicate, out_of_order: ``share`` of the messages of market streams
    come twice, or after the next one. stale: nothing comes on the streams of ``symbols`` (none named: of any). rate_limit: every
    request is answered 429, server_error: ``share`` of them 503. partial_fills: an order takes at most ``share`` of its quantity at
    once. lost_ack: orders are taken, but the connection is cut instead of an answer. maintenance: REST answers 503, streams are cut,
    and no order is matched; afterwards all is as before. clock_skew: the exchange's stamps are ``offset_ms`` off. delist: ``symbols``
    stop trading for good, list: ``symbols`` that were held back begin to.
    """

    kind: Kind
    seconds: Annotated[float, Meta(ge=0, le=86_400, description="how long, seconds of ours")] = 5.0
    at: Annotated[float, Meta(ge=0, description="in a file: begins so long after the start, seconds of ours")] = 0.0
    symbols: tuple[str, ...] = ()
    share: Annotated[float, Meta(gt=0, le=1)] = 0.2
    offset_ms: Annotated[int, Meta(ge=-86_400_000, le=86_400_000)] = 0


class Faults:
    """The faults of a run. ``clock``: monotonic seconds."""

    def __init__(self, clock: Callable[[], float], seed: int, planned: Sequence[Fault] = ()) -> None:
        self.log: list[dict[str, object]] = []
        self.hits: Counter[str] = Counter()
        self._clock, self._started = clock, clock()
        self._rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(5,))))
        self._planned = sorted(planned, key=lambda fault: fault.at)
        self._active: list[tuple[Fault, float]] = []

    def due(self) -> list[Fault]:
        """Planned faults whose time has come; ``begin`` them."""
        now, found = self._clock() - self._started, []
        while self._planned and self._planned[0].at <= now:
            found.append(self._planned.pop(0))
        return found

    def begin(self, fault: Fault) -> None:
        """It is on from now."""
        now = self._clock()
        self._active = [(kept, until) for kept, until in self._active if until > now]
        self._active.append((fault, now + fault.seconds))
        self.log.append({"after_s": round(now - self._started, 3), **msgspec.to_builtins(fault)})

    def active(self, kind: Kind, symbol: str = "") -> Fault | None:
        """The fault of a kind that is on (for ``symbol``, when it names symbols)."""
        if not self._active:
            return None
        now = self._clock()
        for fault, until in self._active:
            if fault.kind == kind and until > now and (not fault.symbols or not symbol or symbol in fault.symbols):
                return fault
        return None

    def strikes(self, kind: Kind, symbol: str = "") -> bool:
        """Whether it hits this time: it is on and the dice say so (``share``); counted."""
        fault = self.active(kind, symbol)
        if fault is None or self._rng.random() >= fault.share:
            return False
        self.hits[kind] += 1
        return True

    def hit(self, kind: Kind, symbol: str = "") -> bool:
        """Whether it is on; counted."""
        if self.active(kind, symbol) is None:
            return False
        self.hits[kind] += 1
        return True


def read_faults(path: Path) -> list[Fault]:
    """A JSON list of faults. Raises ``ConfigError`` naming what is wrong with it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Fault])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
