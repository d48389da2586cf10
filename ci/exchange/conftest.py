"""Fixtures of the demo exchange's tests: one market for all, and a desk whose clock stands still until the test moves it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from demo_exchanges import Desk, small_market

from daemons.exchange.tape import Bars


@pytest.fixture(scope="session")
def bars() -> Bars:
    return small_market()


@pytest.fixture
def desk(bars) -> Desk:
    return Desk(bars)


@pytest.fixture
def make_desk(bars) -> Callable[..., Desk]:
    return lambda **options: Desk(bars, **options)
