"""The hash by which two runs are the same run."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from dolphin.report.inputs import trade_kinds

__all__ = ["canonical", "trades_hash"]


def canonical(value: Any, kind: str) -> str:
    """A value as canonical text: ``"O"`` as it is, ``"i"`` in full, ``"f"`` at 10 significant digits, -0 as 0, NaN as nan."""
    if kind == "O":
        return str(value)
    if kind == "i":
        return str(int(value))
    number = float(value)
    if math.isnan(number):
        return "nan"
    text = format(number, ".10g")
    return "0" if text == "-0" else text


def trades_hash(trades: Sequence[Mapping[str, Any]]) -> str:
    """sha256 over the trades' canonical rows: ``TRADE_FIELDS`` in order, separated by tabs, each row ended by a newline.

    Independent of the records' key order and of noise below the tenth digit (short of a value that lies on a rounding edge).
    """
    digest, kinds = hashlib.sha256(), trade_kinds()
    for trade in trades:
        digest.update(("\t".join(canonical(trade[name], kind) for name, kind in kinds.items()) + "\n").encode())
    return digest.hexdigest()
