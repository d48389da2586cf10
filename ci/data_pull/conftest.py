"""A scripted exchange and a pull from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_exchange import DAY, SmallExchange, rows_of

from flows.pull import PullPlan, pull
from flows.pull_report import PullReport

type Pull = Callable[..., PullReport]


@pytest.fixture
def exchange() -> Iterator[SmallExchange]:
    """Two symbols of three days of hours; ETHUSDT was listed at noon of the first. The clock stands two days later."""
    made = SmallExchange({"BTCUSDT": rows_of(9), "ETHUSDT": rows_of(7)[12:]})
    made.funding = {s: [(DAY + i * 28_800_000 + 3, f"{(i + n) * 1e-5:.8f}") for i in range(9)] for n, s in enumerate(made.klines)}
    yield made
    made.close()


@pytest.fixture
def pulled(exchange: SmallExchange, tmp_path: Path) -> Pull:
    """Pull the three days (or what is asked for) into ``tmp_path / "out"``."""
    plan = PullPlan("binanceusdm", tmp_path / "out", "2024-01-02", "2024-01-04", timeframe="1h", url=exchange.url, patience=20.0)

    def run(**changes: Any) -> PullReport:
        return pull(replace(plan, **changes), lambda items, _total, _label: items)

    return run
