"""Snapshot codec: the engine's state as bytes. Floats travel as their own bits, so a restored engine continues bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec
import numpy as np

from dolphin.engine.history import PriceHistory
from dolphin.errors import ConfigError, MalformedFile
from dolphin.types import IRP_WINDOW, STATE, Ints

__all__ = ["VERSION", "Checkpoint", "Snapshot", "decode", "encode"]

VERSION = b"dolphin-engine-1\n"
_DIGEST = 16


class Checkpoint(NamedTuple):
    """The engine between two days, in memory: its own arrays, nothing encoded. ``trades``: how many there were."""

    state: Any
    history: PriceHistory
    held: str
    banned: Collection[str]
    refusals: Ints
    trades: int
    funding_missing: bool


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """``state`` = STATE record, ``tail`` = float64[50, n_assets]; the rest as the engine names it."""

    config_hash: str
    state: bytes
    assets: list[str]
    tail: bytes
    away: dict[str, bytes]
    held: str
    date: str
    banned: list[str]
    refusals: list[int]
    day_trades: int
    trades: list[dict[str, Any]]
    funding_missing: bool

    def checkpoint(self) -> Checkpoint:
        """The same as an engine takes it; ``trades`` and the day are not in it."""
        history = PriceHistory()
        history.assets = list(self.assets)
        history.tail = np.frombuffer(self.tail).reshape(IRP_WINDOW, len(self.assets)).copy()
        history.away = {name: np.frombuffer(prices).copy() for name, prices in self.away.items()}
        state, refusals = np.frombuffer(self.state, dtype=STATE), np.array(self.refusals, dtype=np.int64)
        return Checkpoint(state, history, self.held, self.banned, refusals, len(self.trades), self.funding_missing)


def encode(snapshot: Snapshot) -> bytes:
    """Version line, digest, msgpack body."""
    body = msgspec.msgpack.encode(snapshot)
    return VERSION + hashlib.blake2b(body, digest_size=_DIGEST).digest() + body


def decode(data: bytes, config_hash: str) -> Snapshot:
    """The snapshot, if it is whole and was taken under the configuration with ``config_hash``.

    Raises ``MalformedFile`` (another version, damaged bytes) or ``ConfigError`` (another configuration).
    """
    start = len(VERSION)
    body = data[start + _DIGEST :]
    if data[:start] != VERSION or hashlib.blake2b(body, digest_size=_DIGEST).digest() != data[start : start + _DIGEST]:
        raise MalformedFile("not an engine snapshot of this version, or damaged", hint="start from an earlier snapshot")
    saved = msgspec.msgpack.decode(body, type=Snapshot)
    if saved.config_hash != config_hash:
        raise ConfigError(f"snapshot was taken under configuration {saved.config_hash}, this engine runs {config_hash}")
    if len(saved.state) != STATE.itemsize or len(saved.tail) != IRP_WINDOW * len(saved.assets) * 8:
        raise MalformedFile("engine snapshot has another layout", hint="it was written by another version")
    return saved
