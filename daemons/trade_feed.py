"""The way between an exchange and the live bars: what is heard, in order, and what may be asked for. A feed stores; it decides nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from dolphin.storage.trade_bars import Bar, Trade

__all__ = ["Answer", "AskBars", "AskMarkets", "AskTrades", "Down", "Heard", "Listed", "Told", "TradeFeed"]


@dataclass(frozen=True, slots=True)
class Told:
    """The exchange's time: asked at ``sent_ms``, answered at ``received_ms`` (ours), in between it was ``server_ms`` there."""

    sent_ms: int
    received_ms: int
    server_ms: int


@dataclass(frozen=True, slots=True)
class Heard:
    """Trades of the symbol at ``place``, as they came by the subscription."""

    place: int
    received_ms: int
    trades: Sequence[Trade]


@dataclass(frozen=True, slots=True)
class Down:
    """The subscription of these symbols ended; whatever is heard of one of them later comes by a new one."""

    places: Sequence[int]
    why: str


@dataclass(frozen=True, slots=True)
class Listed:
    """The linear perpetuals of the exchange: whether each is traded now."""

    symbols: dict[str, bool]


@dataclass(frozen=True, slots=True)
class AskBars:
    """Klines of a symbol whose opens lie in ``[first_ms, last_ms]``; they are over on the exchange."""

    symbol: str
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class AskTrades:
    """Trades of a symbol from ``from_id`` on (-1: from ``since_ms`` on), until one is stamped at ``until_ms`` or later."""

    symbol: str
    from_id: int
    since_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class AskMarkets:
    """What is listed; the answer is ``Listed``."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the exchange has of what was asked: bars by open (ms), or trades. ``refused``: why it has none to give, otherwise empty."""

    ask: AskBars | AskTrades
    bars: dict[int, Bar]
    trades: Sequence[Trade] = ()
    refused: str = ""


class TradeFeed(ABC):
    """An exchange's trades. Nothing here blocks; a request is repeated by the feed until the exchange has answered it."""

    @abstractmethod
    def follow(self, symbols: Sequence[str]) -> None:
        """Subscribe to these and no others; the places of what is heard count over them."""

    @abstractmethod
    def ask(self, ask: AskBars | AskTrades | AskMarkets) -> None:
        """Ask for what was missed."""

    @abstractmethod
    def take(self) -> list[Told | Heard | Down | Listed | Answer]:
        """What came since it was asked last, in order."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection."""
