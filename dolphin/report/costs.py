"""Where the money went: each ledger's price move, credits, slippage, fees and funding, in USDT; the parts sum to the net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dolphin.config import EngineConfig
from dolphin.report.inputs import Columns
from dolphin.report.metrics import pnl
from dolphin.types import Array

__all__ = ["cost_table"]


def cost_table(trades: Columns, engine: EngineConfig, flags: Sequence[str] = ()) -> dict[str, Any]:
    """Split the net profit of the closed trades into its parts.

    With entry e, recorded exit x, raw exit bar price ``p = x / (1 - d*slip(reason))`` and notional N (honest: honest capital before
    the trade * fraction * leverage)::

        price_move = d*(p - e)/e * N
        champion:  slippage = d*(x - p)/e * N       credits = gross_pnl - d*(x - e)/e * N       fees = -fees
        honest:    slippage = (d*(p*(1 - d*h) - e*(1 + d*h)) / (e*(1 + d*h))) * N - price_move  fees = -2*taker*N   funding = the rest

    h is the honest slippage of a side, on a STALE_PRICE exit the stale one. With the flag ``funding_missing`` funding is exactly 0
    and slippage is the rest. ``volume`` is the notional traded, both sides; ``*_bps`` are of entry notional.
    """
    d, entry, left = trades["direction"].astype(np.float64), trades["entry_price"], trades["exit_price"]
    stale, stopped = trades["reason"] == "STALE_PRICE", trades["reason"] == "STOP_LOSS"
    slip = np.where(stale, engine.stale_slippage, np.where(stopped, engine.stop_slippage, engine.exit_slippage))
    raw = left / (1 - d * slip)
    notional, move = trades["notional"], d * (raw - entry) / entry
    champion = {
        "price_move": move * notional,
        "slippage": d * (left - raw) / entry * notional,
        "credits": trades["gross_pnl"] - d * (left - entry) / entry * notional,
        "fees": -trades["fees"],
        "funding": np.zeros_like(notional),
    }
    brought = pnl(trades, "honest", engine.start_capital)
    held = (trades["honest_capital_after"] - brought) * trades["fraction"] * trades["leverage"]
    h_in, h_out = engine.honest_slippage, np.where(stale, engine.stale_slippage, engine.honest_slippage)
    bought = entry * (1 + d * h_in)
    honest = {
        "price_move": move * held,
        "slippage": (d * (raw * (1 - d * h_out) - bought) / bought - move) * held,
        "credits": np.zeros_like(held),
        "fees": -2 * engine.honest_taker_fee * held,
        "funding": np.zeros_like(held),
    }
    rest = "slippage" if "funding_missing" in flags else "funding"
    honest[rest] = brought - sum(part for name, part in honest.items() if name != rest)
    return {
        "champion": _totals(champion, pnl(trades, "champion", engine.start_capital), notional),
        "honest": _totals(honest, brought, held),
    }


def _totals(parts: dict[str, Array], net: Array, notional: Array) -> dict[str, Any]:
    total = float(notional.sum())
    table: dict[str, Any] = {name: float(part.sum()) for name, part in parts.items()}
    table["net"] = float(net.sum())
    bps = {f"{name}_bps": value / total * 1e4 if total > 0 else None for name, value in table.items()}
    return {**table, **bps, "volume": 2 * total}
