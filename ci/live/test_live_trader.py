"""The trader in mode live: no way past a gate, and behind them the lane's whole life at the local exchange."""

from __future__ import annotations

import pytest
from live_ground import KEY, SECRET, exchange_process, trader_process
from live_worlds import LiveDeployment

QUICK = {
    "engine.lookback": "3", "engine.use_asset_selection": "false", "engine.use_direction_confirm": "false", "engine.max_hold_bars": "3",
    "survival.order_book": "false", "survival.dvol": "false",
}  # fmt: skip
"""An engine that enters BTCUSDT on the first signal."""


@pytest.fixture
def exchange(tmp_path):
    with exchange_process(tmp_path) as made:
        yield made


@pytest.fixture
def deployment(tmp_path, exchange):
    made = LiveDeployment(tmp_path, exchange.url, KEY, SECRET, **QUICK)
    made.days_on_paper()
    made.sign()
    return made


def no_secret_anywhere(deployment):
    """In no journal, log, report or state file."""
    found = [p for p in deployment.folder.rglob("*") if p.is_file() and b"cAnAry" in p.read_bytes()]
    assert not found


def test_a_live_lane_enters_with_a_stop_leaves_and_stands_in_its_journal(tmp_path, exchange, deployment):
    with trader_process(tmp_path, deployment.state.root, deployment.environ) as lane:
        lane("bars", many=8)
        assert lane.seen["doubt"] == ""
        lane("bar", vel_div=-0.06)
        assert exchange.position() < 0.0
        assert len(exchange.stops()) == 1
        for _ in range(4):
            lane("bar", vel_div=0.0)
        assert exchange.position() == 0.0
        assert exchange.stops() == []
        kinds = lane.seen["kinds"]
        assert (kinds["order_intent"], kinds["trade"], kinds["settlement"]) == (3, 1, 1)
        assert [event for _, event in lane.seen["events"]].count("filled") >= 2
        assert lane.seen["safe"] == []
        assert lane("stop")["stopped_in_s"] < 10.0
    no_secret_anywhere(deployment)


@pytest.mark.parametrize("end", [pytest.param("stop", marks=pytest.mark.faults), "kill -9"])
def test_a_position_held_at_the_end_goes_on_after_the_restart_with_its_own_stop(tmp_path, exchange, deployment, end):
    """paper.on_stop = hold: the exchange's stop watches over it meanwhile; kill -9 is no different."""
    with trader_process(tmp_path, deployment.state.root, deployment.environ) as lane:
        lane("bars", many=8)
        lane("bar", vel_div=-0.06)
        lane("stop") if end == "stop" else lane.kill()
    held, [stop] = exchange.position(), exchange.stops()
    assert held < 0.0
    with trader_process(tmp_path, deployment.state.root, deployment.environ) as lane:
        assert "error" not in lane.seen, lane.seen
        assert (lane.seen["engine"], lane.seen["doubt"], lane.seen["safe"]) == ("BTCUSDT", "", [])
        lane("bar", vel_div=0.0)
        assert exchange.stops() == [stop]
        for _ in range(3):
            lane("bar", vel_div=0.0)
        assert exchange.position() == 0.0
        assert exchange.stops() == []
        assert lane.seen["safe"] == []
        lane("stop")
    ids = [
        order.get("newClientOrderId", order.get("clientAlgoId"))
        for path in ("/fapi/v1/order", "/fapi/v1/algoOrder")
        for order in exchange.orders(path)
    ]
    assert len(ids) == len(set(ids)) == 3
    no_secret_anywhere(deployment)


@pytest.mark.faults
def test_a_lane_that_shall_flatten_at_its_stop_does(tmp_path, exchange):
    deployment = LiveDeployment(tmp_path, exchange.url, KEY, SECRET, **QUICK, **{"paper.on_stop": "flatten"})
    deployment.days_on_paper()
    deployment.sign()
    with trader_process(tmp_path, deployment.state.root, deployment.environ) as lane:
        lane("bars", many=8)
        lane("bar", vel_div=-0.06)
        assert exchange.position() < 0.0
        assert lane("stop")["stopped_in_s"] < 10.0
    assert exchange.position() == 0.0
    assert exchange.stops() == []


def test_the_kill_switch_flattens_on_the_next_bar_and_takes_the_stop_away(tmp_path, exchange, deployment):
    with trader_process(tmp_path, deployment.state.root, deployment.environ) as lane:
        lane("bars", many=8)
        lane("bar", vel_div=-0.06)
        assert exchange.position() < 0.0
        deployment.state.kill.write_text("{}")
        lane("bar", vel_div=-0.06)
        assert exchange.position() == 0.0
        assert exchange.stops() == []
        lane("stop")


@pytest.mark.faults
def test_a_strangers_position_at_the_start_is_safe_mode_in_the_journal(tmp_path, exchange, deployment):
    exchange.signed("POST", "/fapi/v1/order", symbol="ETHUSDT", side="BUY", type="MARKET", quantity="0.5")
    with trader_process(tmp_path, deployment.state.root, deployment.environ) as lane:
        lane("bars", many=8)
        lane("bar", vel_div=-0.06)
        assert lane.seen["safe"][0][0] is True
        assert "POSITION_MISMATCH ETHUSDT" in lane.seen["safe"][0][1]
        assert "SAFE_MODE" in lane.seen["bars"][-1][2]
        assert exchange.position() == 0.0
    assert exchange.position("ETHUSDT") == 0.5


@pytest.mark.parametrize(
    ("gate", "environment", "flags"),
    [
        ("consent", {"DOLPHIN_LIVE": "yes"}, {}),
        pytest.param("keys", {"DOLPHIN_BINANCE_KEY": "", "DOLPHIN_BINANCE_SECRET": ""}, {}, marks=pytest.mark.faults),
        pytest.param("gate_file", {"DOLPHIN__VENUE__MAX_NOTIONAL": "1234567"}, {}, marks=pytest.mark.faults),
        pytest.param("kill_switch", {}, {"kill": True}, marks=pytest.mark.faults),
        pytest.param("clock", {}, {"skew": 5_000}, marks=pytest.mark.faults),
        pytest.param("capital", {}, {"capital": 9_000.0}, marks=pytest.mark.faults),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_trader_in_mode_live_ends_with_2_and_the_list_when_a_gate_does_not_hold(tmp_path, exchange, deployment, gate, environment, flags):
    """And no order was sent."""
    if "kill" in flags:
        deployment.state.kill.touch()
    if "skew" in flags:
        exchange.fault("clock_skew", 120.0, offset_ms=flags["skew"])
    if "capital" in flags:
        (deployment.state.root / "live_BLUE.gate").unlink()
        deployment.sign(flags["capital"])
    with trader_process(tmp_path, deployment.state.root, deployment.environ | environment) as lane:
        assert "live trading is off, " in lane.seen["error"]
        assert f"{gate}: " in lane.seen["error"]
        assert lane.process.wait(30) == 2
    assert exchange.orders() == []
    no_secret_anywhere(deployment)
