"""Ground truth: every trade of the market that came due while the exchange ran, as one parquet file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from daemons.exchange.instruments import Instrument
from daemons.exchange.tape import Trades
from daemons.exchange.venue import Listener

__all__ = ["Recorder"]

_ROWS: Final = 50_000
_FIELDS: Final = {
    "symbol": pa.string(), "id": pa.int64(), "price": pa.string(), "quantity": pa.string(), "ts": pa.int64(), "taker_sells": pa.bool_(),
}  # fmt: skip
_SCHEMA: Final = pa.schema(list(_FIELDS.items()))


class Recorder(Listener):
    """Writes ``path`` in groups of 50 000 rows; complete after ``close``. Price and quantity are the text that was published."""

    def __init__(self, path: Path, instruments: Sequence[Instrument]) -> None:
        self._instruments, self._kept, self._rows = instruments, list[Trades](), 0
        self._writer = pq.ParquetWriter(path, _SCHEMA)

    def traded(self, trades: Trades) -> None:
        self._kept.append(trades)
        self._rows += len(trades)
        if self._rows >= _ROWS:
            self._flush()

    def stepped(self, now: int) -> None:
        """Books are not recorded: they can be made again from seed and time."""

    def close(self) -> None:
        """Write the rest and the footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if not self._kept:
            return
        names = ("symbol", "id", "ticks", "lots", "ms", "taker_sells")
        symbol, ids, ticks, lots, ms, sells = (np.concatenate([getattr(t, name) for t in self._kept]).tolist() for name in names)
        known = [self._instruments[n] for n in symbol]
        prices = [i.price(t) for i, t in zip(known, ticks, strict=True)]
        quantities = [i.quantity(q) for i, q in zip(known, lots, strict=True)]
        self._writer.write_table(pa.table([[i.symbol for i in known], ids, prices, quantities, ms, sells], schema=_SCHEMA))
        self._kept, self._rows = [], 0
