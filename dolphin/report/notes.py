"""What a report says in words: the meaning of each figure, refusal, exit and flag, and the known limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["ASSETS", "EXITS", "FLAGS", "LEDGERS", "LIMITS", "MEANINGS", "QUALITY", "REFUSALS", "VENUE", "VENUE_PARTS"]

LEDGERS: Final = (
    "Read the honest figures. The champion ledger books credits that no exchange pays (maker credits at both ends and an edge credit, "
    "drawn at random, about +4.2 bps a trade on average) and no slippage at entry. The honest ledger repeats the same entries and exits "
    "with the taker fee, half the spread and slippage on both sides, and funding where a series is given. It never changes a decision."
)

MEANINGS: Final[Mapping[str, tuple[str, str]]] = {
    "roi": ("Return", "Last equity over start capital, minus 1. An open position counts at what closing it now would bring."),
    "sharpe": ("Sharpe", "Mean over standard deviation of day returns, times the root of 365. Empty below two days or without variance."),
    "max_drawdown": (
        "Max drawdown",
        "Deepest fall of equity below its highest point so far, measured on every bar, open position included.",
    ),
    "profit_factor": ("Profit factor", "Sum of all gains over sum of all losses, in USDT. Empty without a losing trade."),
    "win_rate": ("Win rate", "Share of trades that brought more than nothing after costs."),
    "mean_trade_bps": ("Mean trade, bps", "Average net return of a trade on its notional, in basis points (1 bp = 0.01 %)."),
    "end_equity": ("End equity", "USDT at the last bar, open position included."),
    "trades": ("Trades", "Closed positions; at most one is open at a time. The same trades in both ledgers."),
    "in_position": ("In position", "Share of bars on which a position was open."),
    "mean_open": ("Mean exposure", "Notional over capital while a position is open: fraction of capital times leverage."),
    "volatility": ("Volatility", "Standard deviation of day returns, times the root of 365."),
    "longest_losing_streak": ("Losing streak", "Most trades in a row that brought nothing or less."),
}

EXITS: Final[Mapping[str, str]] = {
    "FIXED_TP": "take profit reached",
    "STOP_LOSS": "stop loss reached",
    "VD_ADVERSE": "vel_div turned against the trade",
    "TF_EXHAUST": "velocity spread used up",
    "TF_FLIP": "velocity spread changed sign",
    "MAX_HOLD": "held for the longest time allowed",
    "HIBERNATE_HALT": "closed by posture HIBERNATE",
    "SUBDAY_ACB_NORMALIZATION": "circuit breaker calmed down in mid-day",
    "STALE_PRICE": "no price for too long",
}

REFUSALS: Final[Mapping[str, str]] = {
    "NONE": "entered",
    "IN_POSITION": "a position was open",
    "EXIT_THIS_BAR": "a position was closed on this bar",
    "HALTED": "no entries this day (posture or forewarner)",
    "WARMING_UP": "histories were still filling",
    "VOL_REGIME": "volatility regime not fit, or too early in the day",
    "NO_CAPITAL": "no capital left",
    "NO_SIGNAL": "vel_div did not cross the threshold",
    "NO_ASSET": "no asset passed the ranking",
    "DC_CONTRADICT": "the asset's last prices spoke against the trade",
    "OB_AGAINST": "the order book spoke against the trade",
}

ASSETS: Final[Mapping[str, str]] = {
    "CHOSEN": "first of the ranking that passed everything",
    "NO_PRICE": "no valid price on this bar",
    "BANNED": "closed as STALE_PRICE earlier this day",
    "SHORT_HISTORY": "fewer than 50 valid prices",
    "NOISE": "variance of its steps above 500 (USDT squared)",
    "LATENCY": "took more than 20 of its last 49 steps to show a tenth of its best move",
    "ALIGNMENT": "too few of its steps go its way",
    "OTHER_WAY": "responds more cleanly in the other direction",
    "THIN_BOOK": "order book too thin",
    "OUTRANKED": "passed, but another scores higher",
}

FLAGS: Final[Mapping[str, str]] = {
    "funding_missing": "No funding series was given: the honest ledger charges no funding.",
    "synthetic": "Synthetic market: shows that the machine works, says nothing about profit.",
    "incomplete_day_table": "A day table does not say that it is complete (foreign or stale): minutes may be missing.",
    "times_from_row_index": "A day table carries no times: they were spread from midnight on by row number.",
    "data_warnings": "The data was loaded with warnings.",
    "macro_missing": "Outside series are missing for some days: the circuit breaker gives no boost there.",
    "book_missing": "There is no order book for some days: its layer is neutral there.",
    "forewarner_missing": "No table of trials was given: the MC-forewarner judged no day (`dolphin forewarner train` makes one).",
    "forewarner_in_sample": "The forewarner's trials ran on days of this run: it has seen what it judges, its effect is flattered.",
    "no_order_book": "Postures were computed without an order book: at most STALKER, leverage at most 2.",
    "posture_without_forewarner": "Postures were computed without a forewarner: its word counts as OK.",
    "posture_without_dvol": "Postures were computed without intraday DVOL: no volatility spike was ever seen.",
    "mc_orange_floor=TURTLE": "The forewarner's ORANGE alone lowers the posture to TURTLE, not to HIBERNATE (mc_orange_floor is set).",
    "ob_stale_floor=TURTLE": "A stale book alone lowers the posture to TURTLE, not to HIBERNATE (ob_stale_floor is set).",
    "acb_full_sample": "The circuit breaker's threshold has read the whole sample: it looks ahead, for comparison only.",
}

QUALITY: Final = (
    "A minute that is missing in the source stays missing: nothing is filled in. A missing price counts as no price, and a return across a "
    "gap is left out of the correlations."
)

VENUE_PARTS: Final[Mapping[str, tuple[str, str]]] = {
    "credits": ("Credits", "Maker and edge credits that the model books and no exchange pays."),
    "fees": ("Fees", "Fees charged on the fills against those that the model charged."),
    "slippage": ("Slippage", "Half the spread and the impact of the order against the slippage that the model charged."),
    "latency": ("Latency", "Price move between the decision and the fill."),
    "quantity": ("Size", "Rounding to the instrument's step, and fills of a part or of nothing."),
    "funding": ("Funding", "Funding booked on the position. The model books none."),
}

VENUE: Final[Mapping[str, tuple[str, str]]] = {
    "fills": ("Fills net", "USDT that the trades brought by their fills: what the account would show, fees and funding included."),
    "model": ("Model net", "USDT that the champion ledger books for the same trades."),
    "difference": ("Difference", "Fills net minus model net. It is the sum of the six parts below, trade by trade."),
    "orders": ("Orders and fills", "Orders sent to the venue, and the fills that came back; one order may be filled in several pieces."),
    "refused": ("Refused, rejected", "Orders that our own checks held back before the venue, and orders that the venue sent back."),
    "account": ("Account change", "End balance minus start balance, USDT."),
    "residual": ("Unexplained", "End balance - (start balance + realised - fees + funding). Realised is before fees. Must be 0."),
    "parity": ("Parity", "Whether the run with orders decided the same trades as the engine alone."),
    "share": ("Maker share", "Sides filled by resting orders alone, of all sides filled. The engine assumes a rate and draws at random."),
}

LIMITS: Final = (
    "Impulse-response profiling (IRP) works on price differences: a coin near 90 000 USDT has noise near 200 and can never rank, one at "
    "0.0001 always looks clean. The choice of asset therefore depends on price level.",
    "The champion figures of the design document come from data that is not public. Nobody can reproduce them here, and nothing on this "
    "page confirms them.",
    "The champion's stop of 100 % on a SHORT never triggers below a doubling of the price: in practice there is no stop.",
    "The circuit breaker raises leverage in stress: that is the thesis, not a safeguard.",
    "Both ledgers assume fills at the bar's close with fixed costs: no order-book depth, no market impact, no rejected orders.",
)
