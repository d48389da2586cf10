"""What a lane is told on a bar besides the bar: posture, boost, forewarning, order book. Journalled as read: it can be told again."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from dolphin.book.provider import BookProvider
from dolphin.types import OB_ASSET, OB_MACRO, Array, Posture

__all__ = ["Inputs", "ToldBook", "ToldBreaker", "ToldForewarner", "book_text"]


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """``posture``: in force on this bar, after every check; ``blocks``: what of it is not health but a doubt (empty: none).

    ``boost`` and ``beta`` None: not known, the engine keeps what it has; ``probability`` and ``score`` of the forewarner None: not known,
    which the engine's gate takes for RED; ``book``: ``book_text``, None = the lane has no order book.
    """

    posture: Posture
    blocks: tuple[str, ...] = ()
    boost: float | None = None
    beta: float | None = None
    probability: float | None = None
    score: float | None = None
    book: str | None = None


class ToldBreaker:
    """The engine's circuit breaker: says what it was told."""

    def __init__(self) -> None:
        self.boost, self.beta = 1.0, 0.0

    def get_dynamic_boost_for_date(self, date: str, ob: object) -> dict[str, float]:
        """Boost and beta as they were published, OB-4 included."""
        return {"boost": self.boost, "beta": self.beta}


class Forewarned(NamedTuple):
    """A published assessment."""

    catastrophic_probability: float
    envelope_score: float


class ToldForewarner:
    """The engine's forewarner: says what it was told; NaN, hence RED, when that is not known."""

    def __init__(self) -> None:
        self.report = Forewarned(math.nan, math.nan)

    def tell(self, inputs: Inputs) -> None:
        """Take the assessment of ``inputs``."""
        values = (inputs.probability, inputs.score)
        self.report = Forewarned(*(math.nan if value is None else value for value in values))

    def assess_config_dict(self, config: dict[str, Any]) -> Forewarned:
        """The published assessment."""
        return self.report


class ToldBook:
    """The engine's order book: says what it was told, one row of ``OB_ASSET`` by assets and ``OB_MACRO``."""

    def __init__(self) -> None:
        self._row: Array | None = None

    def tell(self, text: str | None) -> None:
        """Take a row of ``book_text``."""
        self._row = None if text is None else np.frombuffer(base64.b64decode(text, validate=True))

    def fill_row(self, assets: Sequence[str], direction: int, ts_ms: int, asset_out: Array, macro_out: Array) -> None:
        """Write the row; nothing known when none was told."""
        asset_out[:], macro_out[:] = np.nan, np.nan
        if self._row is not None:
            split = asset_out.size
            asset_out[:], macro_out[:] = self._row[:split].reshape(-1, len(OB_ASSET)), self._row[split:]

    def get_signal(self, asset: str, ts_ms: int) -> None:
        """Rows only."""

    def get_placement(self, asset: str, ts_ms: int) -> None:
        """Rows only."""

    def get_macro(self, ts_ms: int) -> None:
        """Rows only."""

    def get_market_multiplier(self, direction: int, ts_ms: int) -> None:
        """Rows only."""


def book_text(book: BookProvider, assets: Sequence[str], direction: int, ts_ms: int) -> str:
    """What ``book`` knows at ``ts_ms``: the row's float64 values, little-endian, as base64."""
    asset, macro = np.empty((len(assets), len(OB_ASSET))), np.empty(len(OB_MACRO))
    book.fill_row(assets, direction, ts_ms, asset, macro)
    return base64.b64encode(np.concatenate([asset.ravel(), macro]).astype("<f8").tobytes()).decode()
