"""Backtest of a lane in Nautilus' ``BacktestEngine``: day tables in, orders, fills, positions and an account out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.backtest.models import LatencyModel
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.enums import AccountType, LiquiditySide, OmsType, OrderSide
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money

from actors.config import DolphinActorConfig
from actors.delivery import CLIENT, Delivery
from actors.dolphin_actor import DolphinActor, PostureSource
from actors.funding import FundingModule
from actors.instruments import perpetuals
from dolphin.engine.costs import FundingSeries
from dolphin.engine.nd import NDAlphaEngine
from dolphin.engine.records import DayRows
from dolphin.report.venue import VenueRun

__all__ = ["VenueBacktest", "first_prices"]

MS = 1_000_000
LEVERAGE = Decimal(10)
"""Account leverage of the simulated venue; our own limits bind long before."""


@dataclass(slots=True)
class VenueBacktest:
    """One lane on a simulated venue. ``run`` it once, ``write`` what it left, then ``close`` it."""

    config: DolphinActorConfig
    days: Sequence[DayRows]
    funding: FundingSeries | None
    engine: BacktestEngine
    actor: DolphinActor
    delivery: Delivery
    seconds: float = 0.0
    fill_error: float = 0.0
    """Largest distance of a taker fill from the quote that the delivery built, USDT."""

    @classmethod
    def build(
        cls,
        config: DolphinActorConfig,
        days: Sequence[DayRows],
        funding: FundingSeries | None = None,
        nd: NDAlphaEngine | None = None,
        postures: PostureSource | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> VenueBacktest:
        """Engine, venue, instruments and actor; ``nd``: an ND engine with layers attached; ``postures``: asked on every bar.

        ``days``: ascending, with times; prices of the first bars choose default instruments. ``state``: of a paper lane's venue, to go
        on from: its ``balance`` and the ``prices`` that chose its instruments.
        """
        known = state or {}
        # a simulated venue always answers, but not before its next quote
        config = msgspec.structs.replace(config, orders=msgspec.structs.replace(config.orders, ack_timeout_s=86_400.0))
        engine = BacktestEngine(BacktestEngineConfig(trader_id="DOLPHIN-001", logging=LoggingConfig(bypass_logging=True)))
        actor = DolphinActor(config, nd, postures=postures)
        actor.engine.set_funding(funding)
        modules = [FundingModule(funding, actor.desk.on_funding)] if funding is not None else []
        engine.add_venue(
            venue=Venue(config.orders.name),
            oms_type=OmsType.NETTING,
            account_type=AccountType.MARGIN,
            starting_balances=[Money.from_str(known["balance"]) if "balance" in known else Money(config.engine.start_capital, USDT)],
            default_leverage=LEVERAGE,
            latency_model=LatencyModel(base_latency_nanos=int(config.orders.latency_ms * MS)),
            modules=modules,
            bar_execution=False,
        )
        instruments = perpetuals(first_prices(days) | dict(known.get("prices", {})), config.orders.name)
        for instrument in instruments.values():
            engine.add_instrument(instrument)
        delivery = Delivery(instruments, actor.desk.active, config.orders)
        engine._add_data_client_if_not_exists(CLIENT)
        engine.add_data_iterator("snapshots", delivery.chunks(days))
        engine.add_strategy(actor)
        built = cls(config, days, funding, engine, actor, delivery)
        engine.kernel.msgbus.subscribe("events.fills.*", built._on_fill)
        return built

    def run(self) -> VenueBacktest:
        """Run all days."""
        started = time.perf_counter()
        ends = [day.ts_ms for day in self.days if len(day.ts_ms)]
        tail = int((2 * self.config.orders.latency_ms + 60_000) * MS)
        self.engine.run(start=int(ends[0][0]) * MS - 1, end=int(ends[-1][-1]) * MS + tail)
        self.seconds = time.perf_counter() - started
        return self

    def close(self) -> None:
        """Free the engine."""
        self.engine.dispose()

    def _on_fill(self, fill: OrderFilled) -> None:
        if fill.liquidity_side == LiquiditySide.TAKER:
            bid, ask = self.delivery.quoted[fill.instrument_id.symbol.value.removesuffix("-PERP")]
            quote = bid if fill.order_side == OrderSide.SELL else ask
            self.fill_error = max(self.fill_error, abs(fill.last_px.as_double() - quote))

    @property
    def account_error(self) -> float:
        """End balance minus (start + realised - fees + funding), USDT."""
        totals = self.actor.desk.totals
        return self.end_balance - (self.config.engine.start_capital + self.realised - totals.fees + totals.funding)

    @property
    def end_balance(self) -> float:
        """Account balance, USDT: start + realised - fees + funding."""
        return float(self.engine.portfolio.account(Venue(self.config.orders.name)).balance_total(USDT).as_double())

    @property
    def realised(self) -> float:
        """Realised result of all fills before fees, USDT: cash flows, the open position at its entry price."""
        totals, trip = self.actor.desk.totals, self.actor.desk.trip
        if trip is None or not trip.held:
            return totals.cash
        return totals.cash + trip.direction * trip.held * trip.entry.value / trip.entry.quantity

    def summary(self, files: dict[str, str], parity: dict[str, Any]) -> VenueRun:
        """What the report shows of the run."""
        desk, orders = self.actor.desk, self.config.orders
        return VenueRun(
            engine=f"nautilus_trader {version('nautilus_trader')}",
            order_style=orders.order_style,
            latency_ms=orders.latency_ms,
            spread_bps=orders.spread_bps,
            orders=desk.totals.orders,
            fills=desk.totals.fills,
            denied=dict(desk.totals.denied),
            rejected=desk.totals.rejected,
            start_balance=self.config.engine.start_capital,
            end_balance=self.end_balance,
            realised=self.realised,
            fees=desk.totals.fees,
            funding=desk.totals.funding,
            hashes=self.hashes(),
            files=files,
            trades=tuple(self.actor.trades),
            parity=parity,
        )

    def hashes(self) -> dict[str, str]:
        """sha256 of orders and of fills, in order; two runs on the same data print the same ones."""
        orders = sorted(self.engine.cache.orders(), key=lambda order: str(order.client_order_id))
        rows = [f"{o.client_order_id}|{o.instrument_id}|{o.side}|{o.quantity}|{o.order_type}|{o.status}|{o.filled_qty}" for o in orders]
        fills = [
            f"{e.client_order_id}|{e.instrument_id}|{e.order_side}|{e.last_qty}|{e.last_px}|{e.commission}|{e.liquidity_side}|{e.ts_event}"
            for o in orders
            for e in o.events
            if isinstance(e, OrderFilled)
        ]
        return {"orders": _digest(rows), "fills": _digest(fills)}

    def write(self, folder: Path) -> dict[str, str]:
        """Tearsheet, Nautilus' own reports and a ParquetDataCatalog with signals and fills; returns file names by label."""
        from nautilus_trader.analysis.tearsheet import create_tearsheet
        from nautilus_trader.persistence.catalog import ParquetDataCatalog

        trader = self.engine.trader
        tables = {
            "Orders": trader.generate_orders_report(),
            "Fills": trader.generate_fills_report(),
            "Positions": trader.generate_positions_report(),
            "Account": trader.generate_account_report(Venue(self.config.orders.name)),
        }
        files = {"Tearsheet": "tearsheet.html"}
        for label, frame in tables.items():
            files[label] = f"{label.lower()}.parquet"
            frame.astype(str).reset_index(names="id").to_parquet(folder / files[label], index=False)
        create_tearsheet(engine=self.engine, output_path=str(folder / "tearsheet.html"), title="DOLPHIN: orders and fills")
        catalog = ParquetDataCatalog(str(folder / "catalog"))
        fills = [e for o in self.engine.cache.orders() for e in o.events if isinstance(e, OrderFilled)]
        catalog.write_data([self.engine.cache.instrument(i) for i in sorted({f.instrument_id for f in fills})])
        catalog.write_data(self.actor.signals)
        catalog.write_data(sorted(fills, key=lambda fill: fill.ts_init))
        return files | {"Catalog": "catalog"}


def first_prices(days: Sequence[DayRows]) -> dict[str, float]:
    """First valid close of every asset of ``days``; an asset without one is left out (it cannot be traded)."""
    prices: dict[str, float] = {}
    for day in days:
        for j, name in enumerate(day.assets):
            if name not in prices:
                column = day.closes[:, j]
                valid = np.flatnonzero((column > 0.0) & np.isfinite(column))
                if len(valid):
                    prices[name] = float(column[valid[0]])
    return prices


def _digest(rows: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()
