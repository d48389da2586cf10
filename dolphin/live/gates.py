"""The gates of live trading: pure checks. All must hold before an order path to an exchange is even built.

What is not known holds nothing: every fact comes with its worst value as the default, and a text in place of a value says why it
could not be had.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dolphin.addresses import loopback
from dolphin.deployment import LiveConfig
from dolphin.errors import ConfigError
from dolphin.live.keys import ExchangeKeys
from dolphin.live.paper_record import PaperRecord
from dolphin.live.permit import Permit
from dolphin.types import Posture

__all__ = [
    "CONSENT",
    "GATES",
    "LOOPBACK_ONLY",
    "Account",
    "Admission",
    "Facts",
    "Finding",
    "admit",
    "consent_of",
    "examine",
    "refusals",
    "refused_address",
]

CONSENT: Final = "DOLPHIN_LIVE"
"""Environment variable whose value must be ``consent_of(lane)``."""
LOOPBACK_ONLY: Final = "DOLPHIN_LOOPBACK_ONLY"
"""Environment variable: when it is set, no exchange but one on this machine is ever spoken to. Tests set it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the exchange says: wallet balance (USDT), position mode, permission to trade, and its clock minus ours (ms)."""

    balance: float
    one_way: bool
    can_trade: bool
    skew_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that the gates look at; a text in place of a value says why it is not known.

    ``terms``: hash of the settings now; ``start_capital``: what the engine sizes by, USDT; ``stop_distance`` of the protective stop;
    ``consent``: value of ``CONSENT``; ``keys``: why there are none, empty = there are; ``kill``: None = cannot be told; ``posture``: the
    published one when it is fresh.
    """

    lane: str
    now_ms: int
    live: LiveConfig
    venue: str
    terms: str
    start_capital: float
    stop_distance: float = 0.0
    consent: str = ""
    loopback_only: bool = False
    keys: str = "not looked for"
    permit: Permit | str = "not read"
    record: PaperRecord | str = "not read"
    kill: bool | None = None
    posture: Posture | str = "not known"
    account: Account | str = "not asked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One gate: whether it holds, what was found, and how to mend it."""

    gate: str
    holds: bool
    found: str
    mend: str


@dataclass(frozen=True, slots=True)
class Admission:
    """What an order path to an exchange is built from. Only ``admit`` makes one."""

    live: LiveConfig
    permit: Permit
    keys: ExchangeKeys

    def over(self, now_ms: int) -> bool:
        """Whether the permission has ended: from then on nothing is entered."""
        return not now_ms < self.permit.expires_ms


type _Check = Callable[[Facts], str]


def consent_of(lane: str) -> str:
    """What ``DOLPHIN_LIVE`` must say for a lane, letter by letter."""
    return f"{lane}-I-ACCEPT-REAL-LOSSES"


def refused_address(url: str) -> str:
    """Why an address is not that of a demo exchange on this machine; empty: it is."""
    try:
        loopback(url, "live.url")
    except ConfigError as error:
        return str(error)
    return ""


def examine(facts: Facts) -> tuple[Finding, ...]:
    """Every gate, in order."""
    found = ((name, check(facts), mend) for name, check, mend in GATES)
    return tuple(
        Finding(name, not why, why or "holds", mend.format(lane=facts.lane, consent=consent_of(facts.lane))) for name, why, mend in found
    )


def refusals(facts: Facts) -> tuple[Finding, ...]:
    """The gates that do not hold; live trading is open when there are none."""
    return tuple(finding for finding in examine(facts) if not finding.holds)


def admit(facts: Facts, keys: ExchangeKeys) -> Admission:
    """The way to the exchange, when every gate holds. Raises ``ConfigError`` naming each that does not, with its mend."""
    shut = refusals(facts)
    if shut or isinstance(facts.permit, str):
        told = "; ".join(f"{finding.gate}: {finding.found} -> {finding.mend}" for finding in shut)
        raise ConfigError(f"live trading is off, {len(shut)} of {len(GATES)} gates do not hold: {told}")
    return Admission(facts.live, facts.permit, keys)


def _mode(facts: Facts) -> str:
    return "" if facts.live.mode == "live" else f"live.mode is {facts.live.mode}"


def _consent(facts: Facts) -> str:
    if facts.consent == consent_of(facts.lane):
        return ""
    return f"{CONSENT} is set to something else" if facts.consent else f"{CONSENT} is not set"


def _address(facts: Facts) -> str:
    if facts.live.url:
        return refused_address(facts.live.url)
    return f"{LOOPBACK_ONLY} is set, and live.url is empty: that is the exchange itself" if facts.loopback_only else ""


def _keys(facts: Facts) -> str:
    return facts.keys


def _permit(facts: Facts) -> str:
    permit = facts.permit
    if isinstance(permit, str):
        return permit
    if permit.lane != facts.lane:
        return f"it permits lane {permit.lane}, this is {facts.lane}"
    if permit.venue != facts.venue:
        return f"it permits venue {permit.venue}, this is {facts.venue}"
    if permit.terms != facts.terms:
        return f"it permits the settings {permit.terms}, these are {facts.terms}: something was changed since"
    if not permit.issued_ms <= facts.now_ms:
        return "it was signed in the future: one of the clocks is wrong"
    return "" if facts.now_ms < permit.expires_ms else f"it expired at {permit.expires}"


def _record(facts: Facts) -> str:
    if isinstance(facts.record, str):
        return facts.record
    return "" if facts.record.days >= facts.live.paper_days else f"{facts.record.days} of {facts.live.paper_days} days; {facts.record.why}"


def _reconciliation(facts: Facts) -> str:
    return "" if facts.live.reconciliation else "live.reconciliation is off"


def _protection(facts: Facts) -> str:
    return "" if facts.stop_distance > 0.0 else "venue.stop_distance is 0: entries would have no stop at the exchange"


def _kill(facts: Facts) -> str:
    return {False: "", True: "it is engaged", None: "it cannot be read, which counts as engaged"}[facts.kill]


def _posture(facts: Facts) -> str:
    return "" if isinstance(facts.posture, Posture) else facts.posture or "not known"


def _account(facts: Facts) -> str:
    if isinstance(facts.account, str):
        return facts.account or "not known"
    if not facts.account.can_trade:
        return "the key may not trade"
    return "" if facts.account.one_way else "positions are in hedge mode"


def _capital(facts: Facts) -> str:
    if isinstance(facts.account, str) or isinstance(facts.permit, str):
        return "the balance or the permitted capital is not known"
    balance, most = facts.account.balance, facts.permit.capital
    if not balance > 0.0:
        return f"the account holds {balance:g} USDT"
    if not balance <= most:
        return f"the account holds {balance:g} USDT, permitted are {most:g}"
    start = facts.start_capital
    return "" if start <= most else f"engine.start_capital sizes orders for {start:g} USDT, permitted are {most:g}"


def _clock(facts: Facts) -> str:
    if isinstance(facts.account, str):
        return "the exchange's time is not known"
    skew, most = facts.account.skew_ms, facts.live.clock_skew_ms
    return "" if abs(skew) <= most else f"the exchange's clock is {skew:+.0f} ms from ours, at most {most} are allowed"


GATES: Final[tuple[tuple[str, _Check, str], ...]] = (
    ("mode", _mode, "set live.mode = live"),
    ("consent", _consent, "export DOLPHIN_LIVE={consent}"),
    ("address", _address, "leave live.url empty for the exchange itself, or name the demo exchange's address on 127.0.0.1"),
    ("keys", _keys, "export DOLPHIN_BINANCE_KEY and DOLPHIN_BINANCE_SECRET, or name a file of mode 0600 in live.key_file"),
    ("gate_file", _permit, "dolphin live sign --lane {lane} --capital USDT --days N --key FILE"),
    ("paper_record", _record, "let the lane run on paper, with dolphin parity-check each day, until its days are whole and clean"),
    ("reconciliation", _reconciliation, "set live.reconciliation = true"),
    ("protection", _protection, "set venue.stop_distance, e.g. 0.05"),
    ("kill_switch", _kill, "dolphin release --reason TEXT, when it is safe"),
    ("posture", _posture, "dolphin up, and wait until dolphin posture says FRESH"),
    ("account", _account, "a key of USDT-M futures with trading allowed and no withdrawals; one-way position mode"),
    ("capital", _capital, "move money off the account, lower engine.start_capital, or sign a gate file for more"),
    ("clock", _clock, "synchronise this machine's clock (NTP)"),
)
"""Name, check (empty = holds, else why not) and mend of every gate."""
