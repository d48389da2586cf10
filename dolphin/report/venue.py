"""Orders and fills: the second ledger of a run whose decisions went to a venue as orders, and what it differs by from the model's."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from dolphin.config import EngineConfig
from dolphin.errors import QualityError

__all__ = ["LIQUIDITY", "PARTS", "TOLERANCE", "VenueRun", "VenueTrade", "parity_line", "venue_summary"]

LIQUIDITY: Final = ("maker", "taker", "mixed", "none")
"""How the fills of an entry or an exit met the book; ``none``: nothing was filled."""

PARTS: Final = ("credits", "fees", "slippage", "latency", "quantity", "funding")
"""What ``fills_net - model_net`` is made of."""

STYLES: Final = ("market", "maker")

TOLERANCE: Final = 0.01
"""USDT by which a sum may be off before the reader is warned."""

COMPARED: Final = "(bar, asset, direction, reason, quantity)"


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueTrade:
    """One trade in both ledgers. The model is the champion ledger: ``model_net`` is the trade's ``net_pnl``.

    Quantities are in units of the asset, ``*_net`` and the parts in USDT. Each part says by how much it raises ``fills_net`` above
    ``model_net``, so a cost that only the fills bear is negative, and ``fills_net = model_net + sum of the parts``:
    ``quantity`` rounding to the instrument's step and partial fills, ``latency`` price move between decision and fill, ``slippage``
    half spread and impact against what the model charged, ``fees``, ``credits`` maker and edge credits that only the model gives,
    ``funding``. Raises ``QualityError`` for a figure that is not finite, a direction other than -1 and 1, or an unknown liquidity.
    """

    trade_id: int
    asset: str
    direction: int
    quantity_model: float
    quantity_filled: float
    model_net: float
    fills_net: float
    quantity: float = 0.0
    latency: float = 0.0
    slippage: float = 0.0
    fees: float = 0.0
    credits: float = 0.0
    funding: float = 0.0
    entry_liquidity: str = "taker"
    exit_liquidity: str = "taker"

    def __post_init__(self) -> None:
        _finite(self, row=self.trade_id)
        if self.direction not in (-1, 1):
            raise QualityError(f"{self.direction}, expected -1 or 1", column="direction", row=self.trade_id)
        for name in ("entry_liquidity", "exit_liquidity"):
            if getattr(self, name) not in LIQUIDITY:
                raise QualityError(f"{getattr(self, name)!r}, expected one of {', '.join(LIQUIDITY)}", column=name, row=self.trade_id)

    @property
    def difference(self) -> float:
        """``fills_net - model_net``, USDT."""
        return self.fills_net - self.model_net


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueRun:
    """What a venue made of the run's orders.

    ``latency_ms`` from decision to venue, ``spread_bps`` full spread in basis points of the price; ``denied`` counts our own refusals
    before the venue by reason code, ``rejected`` the venue's. Balances, ``realised`` (before fees), ``fees`` (paid) and ``funding``
    (received) are USDT: ``end_balance = start_balance + realised - fees + funding``. ``hashes`` of the canonical orders and fills,
    ``files`` label -> name of a file in the run's folder, ``parity`` ``{"trades", "equal", "first_difference"}`` against the engine
    run alone. Raises ``QualityError`` for a figure that is not finite, an unknown order style or a file name that leaves the folder.
    """

    engine: str
    order_style: str
    latency_ms: float
    spread_bps: float
    orders: int
    fills: int
    denied: Mapping[str, int] = field(default_factory=dict)
    rejected: int = 0
    start_balance: float
    end_balance: float
    realised: float
    fees: float
    funding: float
    hashes: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    trades: Sequence[VenueTrade] = ()
    parity: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _finite(self)
        if self.order_style not in STYLES:
            raise QualityError(f"{self.order_style!r}, expected one of {', '.join(STYLES)}", column="order_style")
        for name in self.files.values():
            if not name or name in (".", "..") or set(name) & set("/\\"):
                raise QualityError(f"{name!r} is not the name of a file in the run's folder", column="files")


def venue_summary(venue: VenueRun, engine: EngineConfig) -> dict[str, Any]:
    """The venue's ledger as JSON values: the fields of ``VenueRun`` with ``trades`` by column, and what follows from them.

    ::

        net               {"fills": sum of fills_net, "model": sum of model_net}, USDT
        parts             {part: sum over the trades}, USDT
        sum_error         max |fills_net - model_net - sum of the trade's parts|, USDT
        account_residual  end_balance - (start_balance + realised - fees + funding), USDT
        outside_trades    end_balance - start_balance - net fills, USDT: what the account holds beside the listed trades
        denied_total      orders refused before the venue
        maker             entries, exits: {liquidity: count, "share": measured, "assumed": the engine's rate}

    ``share`` = sides filled by makers alone / sides filled at all; None for market orders and when nothing was filled.
    """
    trades = venue.trades
    net = {"fills": math.fsum(t.fills_net for t in trades), "model": math.fsum(t.model_net for t in trades)}
    scalars = {f.name: getattr(venue, f.name) for f in fields(venue) if f.name not in ("denied", "hashes", "files", "trades", "parity")}
    return {
        **{name: _json(value) for name, value in scalars.items()},
        **{name: {str(k): _json(v) for k, v in getattr(venue, name).items()} for name in ("denied", "hashes", "files", "parity")},
        "denied_total": sum(int(n) for n in venue.denied.values()),
        "net": net,
        "parts": {part: math.fsum(getattr(t, part) for t in trades) for part in PARTS},
        "sum_error": max((abs(t.difference - math.fsum(getattr(t, part) for part in PARTS)) for t in trades), default=0.0),
        "account_residual": float(venue.end_balance - math.fsum((venue.start_balance, venue.realised, -venue.fees, venue.funding))),
        "outside_trades": float(venue.end_balance - venue.start_balance - net["fills"]),
        "maker": {
            "entries": _maker([t.entry_liquidity for t in trades], engine.maker_entry_rate, venue.order_style),
            "exits": _maker([t.exit_liquidity for t in trades], engine.maker_exit_rate, venue.order_style),
        },
        "trades": {f.name: [_json(getattr(t, f.name)) for t in trades] for f in fields(VenueTrade)},
    }


def parity_line(venue: Mapping[str, Any]) -> str:
    """One line that begins with ``parity:``, from a ``venue_summary``: whether the run with orders made the engine's own trades."""
    parity = venue["parity"]
    if "equal" not in parity:
        return "parity: not checked"
    if parity["equal"]:
        n = f"{int(parity.get('trades', 0)):,}"
        return f"parity: {n} of {n} trades equal the engine's {COMPARED}"
    return "parity: FAILED, first difference " + (" ".join(str(parity.get("first_difference") or "").split()) or "not named")


def _maker(sides: Sequence[str], assumed: float, style: str) -> dict[str, Any]:
    counts = Counter(sides)
    filled = len(sides) - counts["none"]
    share = counts["maker"] / filled if style == "maker" and filled else None
    return {**{name: counts[name] for name in LIQUIDITY}, "share": share, "assumed": assumed}


def _finite(record: VenueRun | VenueTrade, row: int | None = None) -> None:
    for name in (f.name for f in fields(record)):
        value = getattr(record, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise QualityError("not a finite number", column=name, row=row)


def _json(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
