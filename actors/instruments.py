"""What a perpetual is on the venue: tick, step, smallest order, margins, fees; and the Nautilus instrument built from them.

A name's :class:`InstrumentSpec` comes from one of three places: the table beside this module (values that Binance
published; its header names the snapshots), ccxt's market dict of a live session, or a documented default.

Nautilus 1.231 keeps the number of digits of a price, not its tick: ``make_price`` rounds to ``price_precision``
and never to a multiple of ``price_increment``. Ticks and steps are therefore stored without trailing zeros
(Binance's ``0.00010`` becomes 0.0001), and the default never exceeds 1.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.enums import CurrencyType
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Currency, Money, Price, Quantity

from dolphin.errors import ConfigError

__all__ = [
    "DECIMAL_PLACES",
    "TICK_SIZE",
    "InstrumentSpec",
    "default_spec",
    "perpetual",
    "perpetuals",
    "read_specs",
    "specs_from_ccxt",
]

TICK_SIZE = 4
DECIMAL_PLACES = 2

_QUOTE = "USDT"
_TABLE = Path(__file__).with_name("instruments.toml")
_SIZES = ("tick", "step", "min_notional")
_FEES = ("maker_fee", "taker_fee")
_KEYS = (*_SIZES, "margin_init", "margin_maint", *_FEES)
_MAX_DIGITS = 9  # the standard-precision build of Nautilus; the high-precision one (this wheel) holds 16
_MAX_SIZE = Decimal(10**9)
_DEFAULTS = {
    "min_notional": Decimal(5),
    "margin_init": Decimal("0.05"),
    "margin_maint": Decimal("0.025"),
    "maker_fee": Decimal("0.0002"),
    "taker_fee": Decimal("0.0005"),
}


@dataclass(frozen=True, slots=True)
class InstrumentSpec:
    """One linear USDT perpetual.

    ``symbol`` BTCUSDT, ``base`` BTC; ``tick`` smallest price move (USDT), ``step`` smallest quantity and its
    increment (base units), ``min_notional`` smallest order value (USDT), margins as fractions of the notional,
    fees as fractions of the traded value (0.0005 = 5 bps), ``source`` where the values come from.
    """

    symbol: str
    base: str
    tick: Decimal
    step: Decimal
    min_notional: Decimal
    margin_init: Decimal
    margin_maint: Decimal
    maker_fee: Decimal
    taker_fee: Decimal
    source: Literal["table", "default", "ccxt"]


def read_specs(path: Path | None = None) -> dict[str, InstrumentSpec]:
    """The table of known perpetuals, by symbol.

    One row is ``BTCUSDT = { tick = "0.1", ... }`` with exactly the seven keys tick, step, min_notional, margin_init,
    margin_maint, maker_fee and taker_fee, each a positive decimal in quotes (a float would already be rounded).

    Raises :class:`ConfigError`, naming file, symbol, key and value, for a file that cannot be read or is not TOML,
    a symbol that does not end in USDT, a missing or unknown key, a value that is not a finite positive decimal, has
    more than 9 decimals, or is a margin or fee above 1, and for margin_maint above margin_init.
    """
    path = _TABLE if path is None else path
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from error
    return {symbol: _from_row(f"{path}: ", symbol, row) for symbol, row in table.items()}


def default_spec(symbol: str, price: float) -> InstrumentSpec:
    """A usable spec for a name that no table knows, from its price (USDT).

    ``tick = 10 ** floor(log10(price * 1e-5))``, between 1e-9 and 1: a hundred thousandth to a millionth of the price.
    ``step = 10 ** floor(log10(1 / price))``, between 1e-9 and 1: one step is worth at most 1 USDT (below 1e9 USDT).
    min_notional 5 USDT, margins 0.05 and 0.025, fees 0.0002 (maker) and 0.0005 (taker): what Binance asks of nearly
    every perpetual. Logarithms are exact (decimal), so a price of 0.1 gives the same spec on every machine.

    Raises :class:`ConfigError` for a symbol that does not end in USDT and for a price that is not finite or below
    1e-9, the smallest price nine digits can hold. Source: house rule, fitted to the table.
    """
    base = _base(symbol)
    if not (math.isfinite(price) and price >= 1e-9):
        raise ConfigError(f"{symbol}: price = {price!r}: expected a finite price of at least 1e-9 USDT")
    exact = Decimal(str(float(price)))
    tick, step = _power_of_ten(exact / 100_000), _power_of_ten(1 / exact)
    return InstrumentSpec(symbol, base, tick, step, **_DEFAULTS, source="default")


def specs_from_ccxt(markets: Mapping[str, Any], precision_mode: int = TICK_SIZE) -> dict[str, InstrumentSpec]:
    """Specs of every linear USDT swap in ccxt's ``exchange.markets``, by symbol (``BTC/USDT:USDT`` -> BTCUSDT).

    ``precision_mode`` is ``exchange.precisionMode``: 4 (TICK_SIZE), ``precision`` holds the tick and the step; or
    2 (DECIMAL_PLACES), it holds numbers of decimals n and the size is ``10 ** -n``. Ask the exchange, do not guess:
    in the wrong mode a price precision of 1 reads as a tick of 1 USDT. ``limits.cost.min``, ``maker`` and ``taker``
    fall back to the defaults of :func:`default_spec` where ccxt has None; margins always do, ccxt does not unify them.
    A fee may be 0. Nothing is fetched, and ccxt is not imported.

    Raises :class:`ConfigError` naming symbol, key and value for an unknown mode, a precision that is absent or not
    of that mode, a contract that is not one unit of the base, and whatever :func:`read_specs` refuses.
    """
    if precision_mode not in (TICK_SIZE, DECIMAL_PLACES):
        raise ConfigError(f"precision_mode = {precision_mode!r}: expected {TICK_SIZE} (TICK_SIZE) or {DECIMAL_PLACES} (DECIMAL_PLACES)")
    specs = {}
    for market in markets.values():
        if market.get("swap") and market.get("linear") and market.get("quote") == market.get("settle") == _QUOTE:
            spec = _from_market(market, precision_mode)
            specs[spec.symbol] = spec
    return specs


def perpetual(spec: InstrumentSpec, venue: str) -> CryptoPerpetual:
    """The Nautilus instrument ``BTCUSDT-PERP.<VENUE>``, raw symbol BTCUSDT, quoted and settled in USDT.

    Precisions are the digits of tick and step, ``min_quantity = step``, no upper limits, both timestamps 0. A base
    currency that Nautilus does not know is registered as a crypto with 8 digits, once for the process.

    Raises :class:`ConfigError` for a venue that is not letters, digits, ``_`` or ``-``.
    """
    if not venue or not venue.replace("_", "").replace("-", "").isalnum():
        raise ConfigError(f"venue = {venue!r}: expected a name of letters and digits such as BINANCE")
    tick, step = Price.from_str(f"{_plain(spec.tick):f}"), Quantity.from_str(f"{_plain(spec.step):f}")
    return CryptoPerpetual(
        instrument_id=InstrumentId(Symbol(f"{spec.symbol}-PERP"), Venue(venue)),
        raw_symbol=Symbol(spec.symbol),
        base_currency=_currency(spec.base),
        quote_currency=USDT,
        settlement_currency=USDT,
        is_inverse=False,
        price_precision=tick.precision,
        size_precision=step.precision,
        price_increment=tick,
        size_increment=step,
        min_quantity=step,
        min_notional=Money(spec.min_notional, USDT),
        margin_init=spec.margin_init,
        margin_maint=spec.margin_maint,
        maker_fee=spec.maker_fee,
        taker_fee=spec.taker_fee,
        ts_event=0,
        ts_init=0,
    )


def perpetuals(prices: Mapping[str, float], venue: str, specs: Mapping[str, InstrumentSpec] | None = None) -> dict[str, CryptoPerpetual]:
    """The instrument of every symbol in ``prices``, in that order.

    Its spec is the one in ``specs`` (default: :func:`read_specs`), else :func:`default_spec` at its price (USDT);
    the price of a known name is not looked at. Raises :class:`ConfigError` as those two and :func:`perpetual` do.
    """
    known = read_specs() if specs is None else specs
    return {symbol: perpetual(known[symbol] if symbol in known else default_spec(symbol, price), venue) for symbol, price in prices.items()}


def _from_row(place: str, symbol: str, row: object) -> InstrumentSpec:
    base = _base(symbol, place)
    if not isinstance(row, dict):
        raise ConfigError(f"{place}{symbol} = {row!r}: expected a table with {', '.join(_KEYS)}")
    for key in row:
        if key not in _KEYS:
            raise ConfigError(f"{place}{symbol}.{key} = {row[key]!r}: no such key; known: {', '.join(_KEYS)}")
    for key in _KEYS:
        if key not in row:
            raise ConfigError(f"{place}{symbol}.{key}: missing")
        if not isinstance(row[key], str):
            raise ConfigError(f"{place}{symbol}.{key} = {row[key]!r}: expected a decimal in quotes")
    values = {key: _number(f"{place}{symbol}.{key}", key, row[key]) for key in _KEYS}
    if values["margin_maint"] > values["margin_init"]:
        raise ConfigError(f"{place}{symbol}.margin_maint = {row['margin_maint']!r}: above margin_init = {row['margin_init']!r}")
    return InstrumentSpec(symbol, base, **values, source="table")


def _from_market(market: Mapping[str, Any], precision_mode: int) -> InstrumentSpec:
    symbol = f"{market['base']}{_QUOTE}"
    base, place = _base(symbol, "ccxt: "), f"ccxt: {symbol}."
    if market.get("contractSize", 1) not in (1, None):
        raise ConfigError(f"{place}contractSize = {market['contractSize']!r}: only contracts of one unit of the base are known")
    precision = market.get("precision") or {}
    values = dict(_DEFAULTS)
    for key, field in (("tick", "price"), ("step", "amount")):
        size = precision.get(field)
        if precision_mode == DECIMAL_PLACES:
            if not (isinstance(size, int | float) and abs(size) <= _MAX_DIGITS and size == int(size)):
                raise ConfigError(f"{place}precision.{field} = {size!r}: expected a number of decimals, at most {_MAX_DIGITS}")
            size = Decimal(1).scaleb(-int(size))
        values[key] = _number(f"{place}precision.{field}", key, size)
    cost = ((market.get("limits") or {}).get("cost") or {}).get("min")
    for key, field, value in (
        ("min_notional", "limits.cost.min", cost),
        ("maker_fee", "maker", market.get("maker")),
        ("taker_fee", "taker", market.get("taker")),
    ):
        if value is not None:
            values[key] = _number(f"{place}{field}", key, value, zero=key in _FEES)
    return InstrumentSpec(symbol, base, **values, source="ccxt")


def _number(place: str, key: str, value: object, *, zero: bool = False) -> Decimal:
    """``value`` as an exact decimal within the bounds of ``key``; floats count as their shortest spelling."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ConfigError(f"{place} = {value!r}: not a decimal") from None
    if not number.is_finite() or number < 0 or (number == 0 and not zero):
        raise ConfigError(f"{place} = {value!r}: expected a finite number {'of at least' if zero else 'above'} 0")
    if number > (_MAX_SIZE if key in _SIZES else 1):
        raise ConfigError(f"{place} = {value!r}: expected at most {'1e9' if key in _SIZES else '1'}")
    number = _plain(number)
    if key in _SIZES and -int(number.as_tuple().exponent) > _MAX_DIGITS:
        raise ConfigError(f"{place} = {value!r}: expected at most {_MAX_DIGITS} decimals")
    return number


def _base(symbol: str, place: str = "") -> str:
    base = symbol.removesuffix(_QUOTE)
    if base == symbol or not base.isalnum() or base != base.upper():
        raise ConfigError(f"{place}{symbol!r}: expected the name of a USDT perpetual such as BTCUSDT")
    return base


def _currency(code: str) -> Currency:
    """Nautilus's own currency, or a new crypto with 8 digits: registering a code twice would keep the first anyway."""
    known = Currency.from_internal_map(code)
    if known is None:
        known = Currency(code, 8, 0, code, CurrencyType.CRYPTO)
        Currency.register(known, overwrite=False)
    return known


def _power_of_ten(value: Decimal) -> Decimal:
    return Decimal(1).scaleb(min(max(value.adjusted(), -_MAX_DIGITS), 0))


def _plain(value: Decimal) -> Decimal:
    """Without trailing zeros after the point, and without an exponent before it."""
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value.normalize()
