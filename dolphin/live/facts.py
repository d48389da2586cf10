"""Facts for the gates, read from settings, environment, gate file, journal and kill switch of a deployment on this machine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from dolphin.config import Settings, config_hash
from dolphin.errors import ConfigError
from dolphin.live.gates import CONSENT, LOOPBACK_ONLY, Account, Facts
from dolphin.live.keys import read_keys
from dolphin.live.paper_record import PaperRecord, Wanted, read_paper_record
from dolphin.live.permit import Permit, read_permit, terms_of
from dolphin.storage.journal import journal_path
from dolphin.storage.kill_switch import KillSwitch
from dolphin.storage.state import StateFolder
from dolphin.types import Posture

__all__ = ["gate_file", "gather", "parity_of"]

MAX_BYTES: Final = 64 * 1024 * 1024


class _Parity(Struct, frozen=True):
    """What is read of the report that `dolphin parity-check` leaves."""

    lane: str
    date: str
    passed: bool


def gate_file(settings: Settings, state: StateFolder, lane: str) -> Path:
    """Where the gate file of a lane lies: ``live.gate_file``, or ``live_<LANE>.gate`` in the state folder."""
    return Path(settings.live.gate_file) if settings.live.gate_file else state.root / f"live_{lane}.gate"


def gather(
    settings: Settings,
    state: StateFolder,
    environ: Mapping[str, str],
    lane: Literal["BLUE", "GREEN"],
    now_ms: int,
    posture: Posture | str,
    account: Account | str,
) -> Facts:
    """Everything that the gates look at; ``posture`` and ``account`` come from grid and exchange, or say why they did not."""
    return Facts(
        lane=lane, now_ms=now_ms, live=settings.live, venue=settings.venue.name, terms=terms_of(settings),
        start_capital=settings.paper.capital(lane) or settings.engine.start_capital, stop_distance=settings.venue.stop_distance,
        consent=environ.get(CONSENT, ""), loopback_only=bool(environ.get(LOOPBACK_ONLY)), keys=_keys(settings, environ),
        permit=_permit(settings, state, lane), record=_record(settings, state, lane, now_ms),
        kill=KillSwitch(state.kill).engaged(), posture=posture, account=account,
    )  # fmt: skip


def parity_of(settings: Settings, state: StateFolder, lane: str, date: str) -> str | None:
    """What the newest comparison of a lane's day found: empty = every decision equals, None = there is none that can be read.

    Reports lie where `dolphin parity-check` leaves them (``<paths.runs>/parity``), or in the state folder's ``parity``.
    """
    names = [folder / f"parity-{name}-{date}.json" for folder in (state.root, Path(settings.paths.runs)) for name in (lane, lane.lower())]
    for path in (name.parent / "parity" / name.name for name in names):
        try:
            with path.open("rb") as file:
                found = msgspec.json.decode(file.read(MAX_BYTES), type=_Parity)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if (found.date, found.lane.upper()) != (date, lane):
            return f"{path} is about {found.lane[:10]} on {found.date[:10]}"
        return "" if found.passed else f"a difference that nobody has explained: {path}"
    return None


def _keys(settings: Settings, environ: Mapping[str, str]) -> str:
    try:
        read_keys(settings.live.key_file, environ)
    except ConfigError as error:
        return str(error)
    return ""


def _permit(settings: Settings, state: StateFolder, lane: str) -> Permit | str:
    try:
        return read_permit(gate_file(settings, state, lane), settings.live.signers)
    except ConfigError as error:
        return str(error)


def _record(settings: Settings, state: StateFolder, lane: str, now_ms: int) -> PaperRecord:
    wanted = Wanted(
        today=dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC).date().isoformat(), days=settings.live.paper_days,
        engine=config_hash(settings.engine), bar_seconds=settings.feed.bar_seconds,
        parity=lambda date: parity_of(settings, state, lane, date), demo=bool(settings.live.url),
    )  # fmt: skip
    return read_paper_record(journal_path(state.journals, f"trader_{lane.lower()}"), wanted)
