"""Instruments: the table of real perpetuals, what a bad table is refused for, the default, and ccxt's market dict."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Currency

from actors.instruments import (
    DECIMAL_PLACES,
    TICK_SIZE,
    InstrumentSpec,
    default_spec,
    perpetual,
    perpetuals,
    read_specs,
    specs_from_ccxt,
)
from dolphin.errors import ConfigError

TABLE = read_specs()
ROW = {
    "tick": '"0.1"',
    "step": '"0.001"',
    "min_notional": '"100"',
    "margin_init": '"0.05"',
    "margin_maint": '"0.025"',
    "maker_fee": '"0.0002"',
    "taker_fee": '"0.0005"',
}

type Market = dict[str, Any]


def table(symbol: str = "BTCUSDT", **changes: str | None) -> str:
    """One row as TOML; a change of None leaves the key out."""
    row = {key: value for key, value in {**ROW, **changes}.items() if value is not None}
    return f"{symbol} = {{ {', '.join(f'{key} = {value}' for key, value in row.items())} }}\n"


def market(base: str, price: object, amount: object, **changes: object) -> Market:
    """A linear USDT swap as ccxt 4.5.90 lists it (the fields that are read, and a few that are not)."""
    return {
        "id": f"{base}USDT",
        "symbol": f"{base}/USDT:USDT",
        "base": base,
        "quote": "USDT",
        "settle": "USDT",
        "type": "swap",
        "spot": False,
        "swap": True,
        "future": False,
        "linear": True,
        "inverse": False,
        "contractSize": 1.0,
        "maker": 0.0002,
        "taker": 0.0005,
        "precision": {"price": price, "amount": amount, "cost": None, "base": 1e-08, "quote": 1e-08},
        "limits": {"cost": {"min": 5.0, "max": None}, "leverage": {"min": None, "max": None}},
        **changes,
    }


def rounds(instrument: CryptoPerpetual, spec: InstrumentSpec) -> bool:
    """A price a third of a tick off goes back to its tick, and a quantity to its step, with exactly their digits."""
    digits_right = instrument.price_precision == max(0, -spec.tick.as_tuple().exponent)
    digits_right &= instrument.size_precision == max(0, -spec.step.as_tuple().exponent)
    third = Decimal(1) / 3
    return digits_right and all(
        instrument.make_price(float((n + off) * spec.tick)).as_decimal() == n * spec.tick
        and instrument.make_qty(float((n + off) * spec.step)).as_decimal() == n * spec.step
        for n in (1, 7, 1234)
        for off in (Decimal(0), third, -third)
    )


@pytest.mark.parametrize("symbol", TABLE)
def test_every_row_gives_an_instrument_that_rounds_to_its_tick_and_step(symbol: str) -> None:
    spec = TABLE[symbol]
    instrument = perpetual(spec, "BINANCE")
    assert str(instrument.id) == f"{symbol}-PERP.BINANCE"
    assert str(instrument.raw_symbol) == symbol == f"{spec.base}USDT"
    assert (instrument.base_currency.code, instrument.quote_currency.code, instrument.settlement_currency.code) == (
        spec.base,
        "USDT",
        "USDT",
    )
    assert not instrument.is_inverse
    assert rounds(instrument, spec)
    assert instrument.price_increment.as_decimal() == spec.tick
    assert instrument.size_increment.as_decimal() == instrument.min_quantity.as_decimal() == spec.step
    assert instrument.min_notional.as_decimal() == spec.min_notional
    assert (instrument.margin_init, instrument.margin_maint) == (spec.margin_init, spec.margin_maint)
    assert (instrument.maker_fee, instrument.taker_fee) == (spec.maker_fee, spec.taker_fee)
    assert spec.source == "table"


@pytest.mark.real_data
def test_the_table_holds_the_names_of_the_real_days_but_four(shared_data: Path) -> None:
    """Two were never perpetuals, of two the smallest order value has no source: the default serves them."""
    names: set[str] = set()
    for folder in sorted((shared_data / "klines").iterdir()):
        day = min(folder.glob("*.parquet"))
        names |= set(pq.read_table(day, columns=["symbol"])["symbol"].to_pylist())
    assert names - set(TABLE) == {"ENAUSDT", "LAYERUSDT", "WINUSDT", "WRXUSDT"}
    assert len(TABLE) >= 40


def test_bitcoin_is_what_binance_says() -> None:
    fees = {"maker_fee": Decimal("0.0002"), "taker_fee": Decimal("0.0005")}
    margins = {"margin_init": Decimal("0.05"), "margin_maint": Decimal("0.025")}
    assert TABLE["BTCUSDT"] == InstrumentSpec(
        "BTCUSDT", "BTC", Decimal("0.1"), Decimal("0.001"), Decimal(100), **margins, **fees, source="table"
    )


@pytest.mark.parametrize(
    ("text", "match"),
    [
        pytest.param(table(tick='"-0.1"'), r"BTCUSDT\.tick = '-0\.1': expected a finite number above 0", id="negative"),
        pytest.param(table(step='"0"'), r"BTCUSDT\.step = '0': expected a finite number above 0", id="zero"),
        pytest.param(table(maker_fee='"0.000"'), r"BTCUSDT\.maker_fee = '0\.000': .* above 0", id="zero fee"),
        pytest.param(table(min_notional='"nan"'), r"BTCUSDT\.min_notional = 'nan': expected a finite", id="nan"),
        pytest.param(table(min_notional='"sNaN"'), r"BTCUSDT\.min_notional = 'sNaN': expected a finite", id="signalling nan"),
        pytest.param(table(taker_fee='"Infinity"'), r"BTCUSDT\.taker_fee = 'Infinity': expected a finite", id="infinite"),
        pytest.param(table(tick='"ten"'), r"BTCUSDT\.tick = 'ten': not a decimal", id="not a number"),
        pytest.param(table(tick='""'), r"BTCUSDT\.tick = '': not a decimal", id="empty"),
        pytest.param(table(tick="0.1"), r"BTCUSDT\.tick = 0\.1: expected a decimal in quotes", id="float"),
        pytest.param(table(step="1"), r"BTCUSDT\.step = 1: expected a decimal in quotes", id="integer"),
        pytest.param(table(tick='"0.0000000001"'), r"BTCUSDT\.tick = .*: expected at most 9 decimals", id="ten decimals"),
        pytest.param(table(tick='"1e-999999"'), r"BTCUSDT\.tick = .*: expected at most 9 decimals", id="tiny exponent"),
        pytest.param(table(step='"1e999999"'), r"BTCUSDT\.step = .*: expected at most 1e9", id="huge exponent"),
        pytest.param(table(margin_init='"5"'), r"BTCUSDT\.margin_init = '5': expected at most 1", id="margin in per cent"),
        pytest.param(table(taker_fee='"2"'), r"BTCUSDT\.taker_fee = '2': expected at most 1", id="fee above one"),
        pytest.param(table(margin_maint='"0.06"'), r"BTCUSDT\.margin_maint = '0\.06': above margin_init = '0\.05'", id="maint above init"),
        pytest.param(table(step=None), r"BTCUSDT\.step: missing", id="missing key"),
        pytest.param(table(lot='"1"'), r"BTCUSDT\.lot = '1': no such key; known: tick, step", id="unknown key"),
        pytest.param('BTCUSDT = "0.1"\n', r"BTCUSDT = '0\.1': expected a table", id="not a row"),
        pytest.param(table("BTCUSD"), r"'BTCUSD': expected the name of a USDT perpetual", id="other quote"),
        pytest.param(table("btcUSDT"), r"'btcUSDT': expected the name of a USDT perpetual", id="lower case"),
        pytest.param(table("BTC-USDT"), r"'BTC-USDT': expected the name of a USDT perpetual", id="dash"),
        pytest.param(table("USDT"), r"'USDT': expected the name of a USDT perpetual", id="no base"),
        pytest.param(table() + table(), "not valid TOML", id="the same symbol twice"),
        pytest.param("BTCUSDT = {", "not valid TOML", id="broken syntax"),
        pytest.param("\udcff", "not valid TOML", id="not UTF-8"),
    ],
)
def test_a_bad_table_is_refused_with_file_symbol_and_key(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "specs.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=rf"specs\.toml: .*{match}"):
        read_specs(path)


def test_an_absent_table_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read \(No such file"):
        read_specs(tmp_path / "none.toml")


def test_trailing_zeros_of_a_table_do_not_become_digits(tmp_path: Path) -> None:
    """Binance prints 0.00010 for a tick of 0.0001; Nautilus would round to five digits."""
    path = tmp_path / "specs.toml"
    path.write_text(table("ADAUSDT", tick='"0.00010"', step='"1.0"') + table("BIGUSDT", tick='"1E+1"'))
    specs = read_specs(path)
    ada = perpetual(specs["ADAUSDT"], "BINANCE")
    assert (ada.price_precision, ada.size_precision) == (4, 0)
    assert str(ada.make_price(1.23456)) == "1.2346"
    assert str(specs["BIGUSDT"].tick) == "10"


@settings(deadline=None)
@given(exponent=st.floats(-7, 6))
@example(exponent=-7.0)
@example(exponent=-1.0)
@example(exponent=0.0)
@example(exponent=6.0)
def test_the_default_of_any_price_builds_and_is_fine_enough(exponent: float) -> None:
    """tick <= 1e-5 price < 10 tick and step * price <= 1 < 10 step * price, wherever 9 digits and the cap of 1 allow."""
    price = 10.0**exponent
    spec = default_spec("NEWUSDT", price)
    instrument = perpetual(spec, "BINANCE")
    assert rounds(instrument, spec)
    exact = Decimal(str(price))
    if exact >= Decimal("1e-4"):
        assert spec.tick <= exact / 100_000
        assert spec.tick == 1 or exact / 100_000 < 10 * spec.tick
        assert spec.tick / exact <= Decimal("1e-4")
    else:
        assert spec.tick == Decimal("1e-9")
    assert spec.step * exact <= 1
    assert spec.step == 1 or 10 * spec.step * exact > 1
    assert instrument.make_price(price).as_decimal() > 0
    assert float(instrument.make_price(price)) == pytest.approx(price, rel=1e-2 if price < 1e-4 else 1e-5)


@pytest.mark.parametrize(
    ("price", "tick", "step"),
    [(94230.203125, "0.1", "0.00001"), (0.2858, "0.000001", "1"), (0.1, "0.000001", "1"), (1.0, "0.00001", "1"), (1e6, "1", "0.000001")],
)
def test_the_default_by_hand(price: float, tick: str, step: str) -> None:
    spec = default_spec("ENAUSDT", price)
    assert (spec.tick, spec.step, spec.min_notional) == (Decimal(tick), Decimal(step), Decimal(5))
    assert (spec.margin_init, spec.margin_maint) == (Decimal("0.05"), Decimal("0.025"))
    assert (spec.maker_fee, spec.taker_fee) == (Decimal("0.0002"), Decimal("0.0005"))
    assert (spec.base, spec.source) == ("ENA", "default")


@pytest.mark.parametrize("price", [math.nan, math.inf, -math.inf, 0.0, -1.0, 9e-10])
def test_no_default_without_a_price(price: float) -> None:
    with pytest.raises(ConfigError, match=r"ENAUSDT: price = .*: expected a finite price"):
        default_spec("ENAUSDT", price)


def test_both_precision_modes_of_ccxt_give_the_same_specs() -> None:
    sizes = {"BTC": (1, 3), "ADA": (4, 0), "1000PEPE": (7, 0), "YFI": (0, 3), "BIG": (-1, -2)}
    places = {base: market(base, price, amount) for base, (price, amount) in sizes.items()}
    ticks = {base: market(base, 10.0**-price, 10.0**-amount) for base, (price, amount) in sizes.items()}
    specs = specs_from_ccxt(ticks, TICK_SIZE)
    assert specs == specs_from_ccxt(places, DECIMAL_PLACES) == specs_from_ccxt(ticks)
    assert list(specs) == ["BTCUSDT", "ADAUSDT", "1000PEPEUSDT", "YFIUSDT", "BIGUSDT"]
    assert specs["1000PEPEUSDT"].tick == Decimal("0.0000001")
    assert (str(specs["BIGUSDT"].tick), str(specs["BIGUSDT"].step)) == ("10", "100")
    assert {spec.source for spec in specs.values()} == {"ccxt"}
    assert all(rounds(perpetual(spec, "BINANCE"), spec) for symbol, spec in specs.items() if symbol != "BIGUSDT")


def test_only_linear_usdt_swaps_of_ccxt_are_taken() -> None:
    others = {
        "BTC/USDT": market("BTC", 0.01, 1e-05, swap=False, spot=True, linear=None, settle=None),
        "BTC/USD:BTC": market("BTC", 0.1, 1.0, quote="USD", settle="BTC", linear=False, inverse=True),
        "BTC/USDC:USDC": market("BTC", 0.1, 0.001, quote="USDC", settle="USDC"),
        "BTC/USDT:USDT-261225": market("BTC", 0.1, 0.001, swap=False, future=True),
    }
    assert specs_from_ccxt(others) == {}
    assert specs_from_ccxt({}) == {}


def test_what_ccxt_leaves_open_is_the_default_and_a_free_fee_stays_free() -> None:
    bare = market("ADA", 0.0001, 1.0, limits={"cost": {"min": None}}, maker=None, taker=0.0, contractSize=None)
    spec = specs_from_ccxt({"ADA/USDT:USDT": bare})["ADAUSDT"]
    assert (spec.min_notional, spec.maker_fee, spec.taker_fee) == (Decimal(5), Decimal("0.0002"), Decimal(0))
    assert perpetual(spec, "BINANCE").taker_fee == 0


@pytest.mark.parametrize(
    ("bad", "mode", "match"),
    [
        (market("BTC", None, 0.001), TICK_SIZE, r"BTCUSDT\.precision\.price = None: not a decimal"),
        (market("BTC", 0.1, 0.0), TICK_SIZE, r"BTCUSDT\.precision\.amount = 0\.0: expected a finite number above 0"),
        (market("BTC", math.nan, 0.001), TICK_SIZE, r"BTCUSDT\.precision\.price = nan: expected a finite"),
        (market("BTC", 0.1, 0.001), DECIMAL_PLACES, r"BTCUSDT\.precision\.price = 0\.1: expected a number of decimals"),
        (market("BTC", 1, 12), DECIMAL_PLACES, r"BTCUSDT\.precision\.amount = 12: expected a number of decimals, at most 9"),
        (market("BTC", 1, None), DECIMAL_PLACES, r"BTCUSDT\.precision\.amount = None: expected a number of decimals"),
        (market("BTC", math.nan, 1), DECIMAL_PLACES, r"BTCUSDT\.precision\.price = nan: expected a number of decimals"),
        (market("BTC", 0.1, 1.0, contractSize=0.01), TICK_SIZE, r"BTCUSDT\.contractSize = 0\.01: only contracts of one unit"),
        (market("BTC", 0.1, 0.001, taker=-0.0001), TICK_SIZE, r"BTCUSDT\.taker = -0\.0001: expected a finite number of at least 0"),
        (market("BTC", 0.1, 0.001, limits={"cost": {"min": 0}}), TICK_SIZE, r"BTCUSDT\.limits\.cost\.min = 0: .* above 0"),
        (market("BTC", 0.1, 0.001), 3, r"precision_mode = 3: expected 4 \(TICK_SIZE\) or 2"),
    ],
)
def test_a_bad_market_of_ccxt_is_refused_with_symbol_and_key(bad: Market, mode: int, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        specs_from_ccxt({bad["symbol"]: bad}, mode)


def test_an_unknown_base_currency_works_twice_in_a_process() -> None:
    assert Currency.from_internal_map("NEVERSEEN7") is None
    first, second = (perpetual(default_spec("NEVERSEEN7USDT", 3.0), venue) for venue in ("BINANCE", "SANDBOX"))
    assert first.base_currency == second.base_currency == Currency.from_internal_map("NEVERSEEN7")
    assert first.base_currency.precision == 8
    assert str(second.id) == "NEVERSEEN7USDT-PERP.SANDBOX"


def test_a_currency_that_nautilus_knows_is_left_alone() -> None:
    assert perpetual(TABLE["BTCUSDT"], "BINANCE").base_currency.name == "Bitcoin"


def test_names_get_the_table_else_the_default_in_their_own_order() -> None:
    built = perpetuals({"WINUSDT": 0.0006, "BTCUSDT": math.nan, "1INCHUSDT": 4.67}, "BINANCE")
    assert list(built) == ["WINUSDT", "BTCUSDT", "1INCHUSDT"]
    assert built["BTCUSDT"].price_increment.as_decimal() == TABLE["BTCUSDT"].tick
    assert built["WINUSDT"].price_increment.as_decimal() == Decimal("1e-9")
    assert perpetuals({}, "BINANCE") == {}


def test_given_specs_replace_the_table() -> None:
    given = specs_from_ccxt({"ADA/USDT:USDT": market("ADA", 0.01, 10.0)})
    built = perpetuals({"ADAUSDT": 1.2, "BTCUSDT": 94230.2}, "BINANCE", given)
    assert str(built["ADAUSDT"].price_increment) == "0.01"
    assert str(built["BTCUSDT"].size_increment) == "0.00001"


@pytest.mark.parametrize("symbol", ["BTCUSD", "BTCUSDC", "BTCUSDT_210924", "USDT", "", "btcusdt", "BTC/USDT"])
def test_a_name_that_is_no_usdt_perpetual_is_refused(symbol: str) -> None:
    with pytest.raises(ConfigError, match="expected the name of a USDT perpetual"):
        perpetuals({symbol: 1.0}, "BINANCE")


@pytest.mark.parametrize("venue", ["", "A.B", "BIN ANCE", "_"])
def test_a_venue_that_would_break_the_instrument_id_is_refused(venue: str) -> None:
    with pytest.raises(ConfigError, match="venue = "):
        perpetual(TABLE["BTCUSDT"], venue)
