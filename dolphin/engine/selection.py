"""Asset selection for a researcher: the whole IRP (Impulse Response Profiling) ranking. The loop uses the same kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dolphin.kernels.selection import rank_assets_irp_nb
from dolphin.types import IRP_WINDOW, Array

__all__ = ["AlphaAssetSelector", "RankedAsset"]


@dataclass(frozen=True, slots=True)
class RankedAsset:
    """One line of the ranking: ``action`` is the direction (-1 or +1) in which the asset responds more cleanly."""

    asset: str
    ars: float
    action: int
    alignment: float


class AlphaAssetSelector:
    """Ranks assets by their asset response score (ARS)."""

    def rank_assets(self, prices: Array, assets: Sequence[str], direction: int = -1) -> list[RankedAsset]:
        """Best first; dropped assets (noise > 500, latency > 20, alignment < 0.20, fewer than 50 prices) are absent.

        ``prices`` float64[n_bars >= 50, n_assets], newest last; the last 50 rows count. Equal scores keep column order.
        Raises ``ValueError`` when the shape does not fit.
        """
        window = np.ascontiguousarray(prices[-IRP_WINDOW:], dtype=np.float64)
        if window.shape != (IRP_WINDOW, len(assets)):
            raise ValueError(f"prices of shape {prices.shape}: expected at least {IRP_WINDOW} rows of {len(assets)} columns")
        columns, ars, action, alignment = rank_assets_irp_nb(window, direction)
        rows = zip(columns.tolist(), ars.tolist(), action.tolist(), alignment.tolist(), strict=True)
        return [RankedAsset(assets[j], *row) for j, *row in rows]
