"""A real live node in a process of its own, driven over stdin by one JSON command a line; it answers with what it sees, one JSON a line.

``python live_lane.py URL LANE STOP_DISTANCE``; keys come from the environment, as in life. Commands: ``enter`` (symbol, notional),
``leave``, ``bar``, ``wait`` (seconds), ``flatten``, ``release`` (safe mode), ``stop``.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from typing import Any

import numpy as np

with warnings.catch_warnings():  # a default argument of Nautilus 1.231 is a timedelta that numpy 2.5 finds deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    from scripted_alpha import Decisions

    from actors.config import DolphinActorConfig
    from actors.data_types import Snapshot
    from actors.dolphin_actor import DolphinActor
    from actors.live import LiveNode
from dolphin.config import VenueConfig
from dolphin.deployment import LiveConfig
from dolphin.errors import DolphinError
from dolphin.live.gates import Admission
from dolphin.live.keys import read_keys
from dolphin.live.permit import Permit
from dolphin.telemetry.output import RedactedOutput
from dolphin.telemetry.redaction import Redactor
from dolphin.types import BarResult

SYMBOLS = ("BTCUSDT", "ETHUSDT")


class LiveLane:
    """Scripted decisions through a real actor, desk, node, adapter and exchange."""

    def __init__(self, url: str, lane: str, distance: float) -> None:
        permit = Permit(lane=lane, venue="BINANCE", capital=1e6, terms="t", issued_ms=0, expires_ms=1 << 60)
        self.engine = Decisions()
        orders = VenueConfig(stop_distance=distance, ack_timeout_s=4.0)
        self.actor = DolphinActor(DolphinActorConfig(lane=lane, bar_seconds=5, orders=orders, oms_type="NETTING"), engine=self.engine)  # type: ignore[arg-type]
        admission = Admission(LiveConfig(mode="live", url=url), permit, read_keys("", os.environ))
        self.node = LiveNode(lane, admission, self.actor)
        self.entry: dict[str, Any] | None = None
        self.trades = 0

    def prices(self) -> dict[str, float]:
        return {symbol: self.actor.desk.view.middle(symbol) for symbol in SYMBOLS}

    def bar(self) -> None:
        self.node.refresh()
        closes = np.array(list(self.prices().values()))
        self.actor.handle_data(Snapshot(time.time_ns(), SYMBOLS, closes, (0.0, 0.0, 0.0)))
        self.node.breathe(0.3)

    def enter(self, symbol: str = "BTCUSDT", notional: float = 5_000.0) -> None:
        self.node.refresh()
        self.node.breathe(0.05)
        price = self.prices()[symbol]
        self.entry = {
            "asset": symbol, "direction": self.actor.direction, "entry_bar": self.engine.bars, "entry_ts": time.time_ns() // 1_000_000,
            "entry_price": price, "notional": notional, "leverage": 0.2, "fraction": 0.2, "bucket": 1, "vel_div": -0.03,
            "strength": 0.5, "confidence": 0.5, "dc": "OFF", "irp_alignment": 0.5, "ars": 1.0,
        }  # fmt: skip
        self.engine.next = BarResult(entry=self.entry)
        self.bar()

    def leave(self) -> None:
        entry, self.entry = self.entry, None
        assert entry is not None
        self.trades += 1
        price = self.prices()[entry["asset"]]
        quantity = entry["notional"] / entry["entry_price"]
        gross = quantity * entry["direction"] * (price - entry["entry_price"])
        closed = {
            "trade_id": self.trades,
            "exit_price": price,
            "reason": "MAX_HOLD",
            "gross_pnl": gross,
            "fees": 4.0,
            "net_pnl": gross - 4.0,
        }
        self.engine.next = BarResult(exit=entry | closed | {"bars_held": 1})
        self.bar()

    def told(self) -> dict[str, Any]:
        desk = self.actor.desk
        trip = desk.trip
        return {
            "safe": desk.safe_reason,
            "held": 0.0 if trip is None else trip.direction * trip.held,
            "trip": trip is not None,
            "positions": desk.view.positions(),
            "open": desk.view.open_orders(),
            "orders": [[i.purpose, str(self.actor.cache.order(_id(i.client_order_id)).status_string())] for i in desk.intents.values()],
            "trades": [[t.quantity_filled, t.fills_net] for t in self.actor.trades],
            "equity": desk.view.equity(),
            "prices": self.prices(),
            "denied": desk.totals.denied,
        }


def _id(key: str) -> Any:
    from nautilus_trader.model.identifiers import ClientOrderId

    return ClientOrderId(key)


def main() -> None:
    """Until ``stop`` or the end of stdin."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    keys = read_keys("", os.environ)
    output = RedactedOutput(Redactor(os.environ, (keys.key, keys.secret)))
    lane = LiveLane(sys.argv[1], sys.argv[2], float(sys.argv[3]))
    try:
        lane.node.start()
        print(json.dumps(lane.told()), file=answers)
    except DolphinError as error:
        print(json.dumps({"error": str(error)}), file=answers)
        sys.exit(error.exit_code)
    for line in sys.stdin:
        command = json.loads(line)
        what = command.pop("do")
        if what == "stop":
            break
        if what == "wait":
            lane.node.breathe(command["seconds"])
        elif what in ("release", "flatten"):
            (lane.actor.desk.flatten if what == "flatten" else lane.actor.desk.release_safe_mode)()
            lane.node.breathe(0.3)
        else:
            getattr(lane, what)(**command)
        print(json.dumps(lane.told()), file=answers)
    lane.node.stop()
    print(json.dumps({"stopped": True}), file=answers)
    output.close()


if __name__ == "__main__":
    main()
