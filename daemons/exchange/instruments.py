"""The contracts: symbol, tick and lot as decimals, and how the exchange describes them.

Prices and quantities are whole numbers inside (ticks of ``10**-price_decimals`` USDT, lots of ``10**-lot_decimals`` base units), so
that sums are exact; they become decimal text where they leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np

from dolphin.errors import QualityError
from dolphin.types import Array

__all__ = ["MIN_NOTIONAL", "Instrument", "decimals_of", "text_of"]

MIN_NOTIONAL: Final = Decimal(5)
_PERPETUAL: Final = 4_133_404_800_000
_MOST_DECIMALS: Final = 8
_ORDER_TYPES: Final = ["LIMIT", "MARKET", "STOP_MARKET", "TAKE_PROFIT_MARKET"]


@dataclass(frozen=True, slots=True)
class Instrument:
    """A perpetual in USDT."""

    symbol: str
    price_decimals: int
    lot_decimals: int

    @property
    def tick(self) -> Decimal:
        """USDT."""
        return Decimal(1).scaleb(-self.price_decimals)

    @property
    def lot(self) -> Decimal:
        """Base units."""
        return Decimal(1).scaleb(-self.lot_decimals)

    def price(self, ticks: int) -> str:
        """Text of a price."""
        return text_of(ticks, self.price_decimals)

    def quantity(self, lots: int) -> str:
        """Text of a quantity."""
        return text_of(lots, self.lot_decimals)

    def told(self, status: str, onboard_ms: int) -> dict[str, Any]:
        """Its entry in ``exchangeInfo``."""
        base, tick, lot = self.symbol.removesuffix("USDT"), f"{self.tick:f}", f"{self.lot:f}"
        return {
            "symbol": self.symbol, "pair": self.symbol, "contractType": "PERPETUAL", "deliveryDate": _PERPETUAL, "onboardDate": onboard_ms,
            "status": status, "maintMarginPercent": "2.5000", "requiredMarginPercent": "5.0000", "baseAsset": base, "quoteAsset": "USDT",
            "marginAsset": "USDT", "pricePrecision": self.price_decimals, "quantityPrecision": self.lot_decimals, "baseAssetPrecision": 8,
            "quotePrecision": 8, "underlyingType": "COIN", "underlyingSubType": ["PoW"], "settlePlan": 0, "triggerProtect": "0.0500",
            "liquidationFee": "0.012500", "marketTakeBound": "0.05", "maxMoveOrderLimit": 10000,
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "100000000", "tickSize": tick},
                {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "1000000000", "stepSize": lot},
                {"filterType": "MARKET_LOT_SIZE", "minQty": lot, "maxQty": "1000000000", "stepSize": lot},
                {"filterType": "MAX_NUM_ORDERS", "limit": 200},
                {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 100},
                {"filterType": "MIN_NOTIONAL", "notional": f"{MIN_NOTIONAL}"},
                {"filterType": "PERCENT_PRICE", "multiplierUp": "1.1000", "multiplierDown": "0.9000", "multiplierDecimal": "4"},
            ],
            "orderTypes": _ORDER_TYPES, "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
        }  # fmt: skip


def text_of(units: int, decimals: int) -> str:
    """``units * 10**-decimals`` in digits."""
    if not decimals:
        return str(units)
    whole, part = divmod(abs(units), 10**decimals)
    return f"{'-' if units < 0 else ''}{whole}.{part:0{decimals}d}"


def decimals_of(values: Array, what: str, least_units: int = 1) -> int:
    """Fewest decimals (at most 8) that hold all ``values`` and make the smallest positive one at least ``least_units`` units.

    Values that fit float32 were stored as such and are held to its precision. Raises ``QualityError`` when 8 do not suffice.
    """
    positive = values[values > 0]
    single = bool((positive.astype(np.float32).astype(np.float64) == positive).all())
    near = 6e-8 if single else 1e-12
    for decimals in range(_MOST_DECIMALS + 1):
        units = np.rint(positive * 10.0**decimals)
        if (np.abs(units / 10.0**decimals - positive) <= near * positive).all() and (not len(units) or units.min() >= least_units):
            return decimals
    raise QualityError(f"{what}: has more than {_MOST_DECIMALS} decimals", hint="no contract of the exchange is quoted so finely")
