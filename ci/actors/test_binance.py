"""The exchange's client: what is a rejection and what leaves the outcome open, and where its requests go."""

from __future__ import annotations

import asyncio

import pytest
from nautilus_trader.adapters.binance.http.error import BinanceClientError, BinanceError, BinanceServerError

from actors.binance import UnknownOutcome, certain, execution, reconciling
from dolphin.deployment import LiveConfig
from dolphin.live.gates import Admission
from dolphin.live.keys import ExchangeKeys
from dolphin.live.permit import Permit

PERMIT = Permit(lane="BLUE", venue="BINANCE", capital=1.0, terms="t", issued_ms=0, expires_ms=1)


def admission(url):
    return Admission(LiveConfig(mode="live", url=url), PERMIT, ExchangeKeys("k" * 20, "s" * 20))


def answered(error):
    """What a submission raises when the exchange answers so."""

    async def submit(*args):
        raise error

    asyncio.run(certain(submit)("an order"))


@pytest.mark.parametrize(
    "error",
    [
        BinanceServerError(503, {"code": -1001, "msg": "x"}, {}),
        BinanceServerError(502, "<html>", {}),
        BinanceServerError(500, None, {}),
        BinanceClientError(408, {"code": -1007, "msg": "Timeout waiting for response; execution status unknown."}, {}),
        BinanceClientError(400, {"code": -1006, "msg": "x"}, {}),
    ],
    ids=lambda error: f"{error.status}",
)
def test_an_answer_that_leaves_the_outcome_open_is_no_rejection(error):
    with pytest.raises(UnknownOutcome, match=rf"HTTP {error.status}, code") as found:
        answered(error)
    assert not isinstance(found.value, BinanceError), "Nautilus would make a rejection of it"


@pytest.mark.parametrize("code", [-2010, -2019, -2021, -2022, -4164, -1021, -1003])
def test_what_the_exchange_refuses_is_a_rejection(code):
    error = BinanceClientError(400, {"code": code, "msg": "no"}, {})
    with pytest.raises(BinanceClientError, match="no"):
        answered(error)


def test_addresses_are_the_demo_exchanges_or_the_adapters_own():
    demo = execution(admission("http://127.0.0.1:4711"))
    assert (demo.base_url_http, demo.base_url_ws_stream) == ("http://127.0.0.1:4711", "ws://127.0.0.1:4711")
    assert demo.base_url_ws.startswith("ws://127.0.0.1:4711/")
    real = execution(admission(""))
    assert (real.base_url_http, real.base_url_ws, real.base_url_ws_stream) == (None, None, None)


def test_no_order_is_sent_twice_and_everything_is_reconciled():
    assert execution(admission("")).max_retries is None
    assert reconciling(LiveConfig()).reconciliation
    assert not reconciling(LiveConfig(reconciliation=False)).reconciliation
