"""What travels through Nautilus' data engine besides its own types: one snapshot a tick, a barrier, and signals for the catalog."""

import math
from collections.abc import Iterable

from nautilus_trader.core.data import Data
from nautilus_trader.model.custom import customdataclass

from dolphin.lane.inputs import Inputs
from dolphin.lane.scan_log import ScannedBar
from dolphin.types import Array

__all__ = ["DolphinSignal", "Marker", "Snapshot", "Universe"]


type Told = tuple[ScannedBar, Inputs]


class Universe(tuple[str, ...]):
    """Names of the assets in column order; ``column`` tells the place of each."""

    column: dict[str, int]

    def __new__(cls, names: Iterable[str]) -> "Universe":
        made = super().__new__(cls, names)
        made.column = {name: j for j, name in enumerate(made)}
        return made


class Snapshot(Data):
    """One bar of the whole universe: ``closes`` float64[n_assets] of ``assets`` (NaN = no price), and the scan of that bar.

    ``ts_event`` is the bar's close, ns UTC. ``assets`` is one object for as long as the universe stays the same.
    """

    __slots__ = ("_ts", "assets", "closes", "told", "v50", "v750", "vel_div")

    def __init__(
        self, ts: int, assets: tuple[str, ...], closes: Array, signal: tuple[float, float, float], told: Told | None = None
    ) -> None:
        """``signal`` = (vel_div, v50, v750), NaN = unknown; ``told``: the scanner's record and what a lane is told on it."""
        self.told = told
        self._ts, self.closes = ts, closes
        self.assets = assets if type(assets) is Universe else Universe(assets)
        self.vel_div, self.v50, self.v750 = signal

    def close(self, symbol: str) -> float:
        """Close of ``symbol``, NaN for a name that is not in the universe."""
        place = self.assets.column.get(symbol, -1)
        return math.nan if place < 0 else float(self.closes[place])

    @property
    def ts_event(self) -> int:
        return self._ts

    @property
    def ts_init(self) -> int:
        return self._ts


class Marker(Data):
    """Barrier behind a snapshot: the data iterator asks for more when its last item is taken, so before the snapshot itself is handled
    it would ask for the quotes of names that the snapshot's orders do not have yet.
    """

    __slots__ = ("_ts",)

    def __init__(self, ts: int) -> None:
        self._ts = ts

    @property
    def ts_event(self) -> int:
        return self._ts

    @property
    def ts_init(self) -> int:
        return self._ts


@customdataclass
class DolphinSignal(Data):
    """A decision of the engine as a Nautilus user finds it in the catalog: ``action`` ENTRY or EXIT, ``reason`` of an exit."""

    lane: str = ""
    symbol: str = ""
    action: str = ""
    reason: str = ""
    direction: int = 0
    price: float = 0.0
    notional: float = 0.0
    leverage: float = 0.0
    fraction: float = 0.0
    vel_div: float = 0.0
