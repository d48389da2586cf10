"""Where a lane's decisions go. A venue takes bars in, has the lane decide on each, and carries the decision out until it is at rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import Struct

from dolphin.lane.inputs import Inputs
from dolphin.lane.lane import Lane
from dolphin.lane.records import Records
from dolphin.lane.scan_log import ScannedBar

__all__ = ["NoVenue", "Venue", "VenueFacts", "VenueState"]

type VenueState = dict[str, Any]
"""JSON of a snapshot: what a venue without a position must be told to go on as if nothing had happened."""


class VenueFacts(Struct, frozen=True, kw_only=True):
    """``account``: balance with the open position marked, USDT; ``position``: symbol, signed quantity, entry price, unrealised USDT."""

    account: float | None = None
    position: dict[str, Any] | None = None
    last_fill: dict[str, Any] | None = None


class Venue(ABC):
    """Everything that it writes goes to ``records`` in the order in which it happens, so the same bars give the same records."""

    def __init__(self, lane: Lane, records: Records) -> None:
        self.lane, self.records = lane, records

    repeatable: ClassVar[bool] = True
    """Whether the same bars give the same orders and fills: then a lane that comes back has them carried out once more."""

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of what forbids entries now."""
        return ()

    @property
    def flat(self) -> bool:
        """Nothing is held, wanted or under way: a snapshot needs no more than ``state``."""
        return True

    @property
    def doubt(self) -> str:
        """Why entries must stop until an operator has looked; empty: nothing."""
        return ""

    def trust(self) -> None:  # noqa: B027
        """An operator has looked: what was in ``doubt`` is so no more, unless it turns out to be."""

    @abstractmethod
    def bar(self, bar: ScannedBar, inputs: Inputs) -> None:
        """One bar that the lane wants: decision, orders, fills."""

    def open(self, state: Mapping[str, Any]) -> None:  # noqa: B027  most venues need nothing
        """Begin, or go on from ``state``."""

    def state(self) -> VenueState:
        """For a snapshot, when ``flat``."""
        return {}

    def facts(self) -> VenueFacts:
        """For an operator."""
        return VenueFacts()

    def leave(self) -> None:  # noqa: B027
        """The lane has closed positions between bars (``lane.closed``)."""

    def breathe(self) -> None:  # noqa: B027
        """Between two bars: hear what has come from outside."""

    def flatten(self) -> None:  # noqa: B027
        """Close what is held now, whatever the lane wants."""

    def close(self) -> None:  # noqa: B027
        """Let go."""


class NoVenue(Venue):
    """Decisions only."""

    def bar(self, bar: ScannedBar, inputs: Inputs) -> None:
        self.records.add(*self.lane.take(bar, inputs))
