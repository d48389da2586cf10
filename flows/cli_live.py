"""Verbs under `dolphin live`: the gates of live trading, and the signed file that one of them asks for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli_options import ConfigOption, SetOption, loaded_config
from flows.console import Outcome, verb

if TYPE_CHECKING:
    from dolphin.config import Settings
    from dolphin.storage.state import StateFolder

__all__ = ["live_app"]

live_app = typer.Typer(help="Live trading is off. What must hold before it can be on, and the signed gate file.", no_args_is_help=True)

LaneOption = Annotated[str, typer.Option("--lane", help="blue (SHORT) or green (LONG); default: the first of paper.lanes.")]
StateOption = Annotated[Path | None, typer.Option("--state", help="State folder of the deployment; default: that of `dolphin up`.")]


@verb(live_app, "check")
def check(lane: LaneOption = "", state: StateOption = None, changes: SetOption = None, config: ConfigOption = None) -> Outcome:
    """Every gate with its state, and how to mend it; exits 1 when one does not hold. Sends no order."""
    settings, folder = _deployment(state, config, changes)
    from flows.live import findings, lane_of

    found = findings(settings, folder, lane_of(lane or settings.paper.names[0]))
    shut = [f for f in found if not f.holds]
    lines = [f"{'holds' if f.holds else 'SHUT ':<6} {f.gate:<15} {'' if f.holds else f'{f.found}  ->  {f.mend}'}".rstrip() for f in found]
    last = "every gate holds" if not shut else f"live trading is off: {len(shut)} of {len(found)} gates do not hold"
    data = {"open": not shut, "gates": [{"gate": f.gate, "holds": f.holds, "found": f.found, "mend": f.mend} for f in found]}
    return Outcome("dolphin.live-check/1", data, "\n".join([*lines, last]), int(bool(shut)))


@verb(live_app, "sign")
def sign(
    key: Annotated[Path, typer.Option("--key", help="Your private signing key (`dolphin live key`); best not kept on this machine.")],
    capital: Annotated[float, typer.Option("--capital", help="Most USDT that the exchange's account may hold.")],
    days: Annotated[float, typer.Option("--days", help="How long the permission lasts, at most 92.")],
    lane: LaneOption = "",
    state: StateOption = None,
    changes: SetOption = None,
    config: ConfigOption = None,
) -> Outcome:
    """Permit a lane to trade live up to a capital, with exactly these settings, until a date. The other gates stay as they are."""
    settings, folder = _deployment(state, config, changes)
    from flows.live import lane_of, signed_gate

    permit, path, signer = signed_gate(settings, folder, lane_of(lane or settings.paper.names[0]), capital, days, key)
    known = signer in settings.live.signers.split(",")
    hint = (
        ""
        if known
        else f"\nthe signer is not among live.signers, so it does not count yet; and adding {signer} changes the settings: sign then"
    )
    text = (
        f"{path}: lane {permit.lane}, {permit.venue}, up to {permit.capital:g} USDT, settings {permit.terms}, until {permit.expires}{hint}"
    )
    facts = {"file": str(path), "lane": permit.lane, "capital": permit.capital, "terms": permit.terms, "expires_ms": permit.expires_ms}
    return Outcome("dolphin.live-sign/1", {**facts, "signer": signer, "counts": known}, text)


@verb(live_app, "key")
def key(path: Annotated[Path, typer.Argument(help="A new file for the private key, mode 0600.")]) -> Outcome:
    """Make a signing key; its public half goes into live.signers."""
    from dolphin.live.permit import make_signing_key

    signer = make_signing_key(path)
    return Outcome("dolphin.live-key/1", {"file": str(path), "signer": signer}, f'{path} written; settings: [live] signers = "{signer}"')


def _deployment(state: Path | None, config: Path | None, changes: list[str] | None) -> tuple[Settings, StateFolder]:
    """The state folder, and the settings that its processes run with; ``--set`` counts where nothing was started yet."""
    from dolphin.config import load
    from dolphin.storage.state import StateFolder
    from flows.workspace import state_folder

    given = loaded_config(config, changes).settings
    folder = StateFolder((state or state_folder(given.paths, "")).absolute())
    running = folder.settings if folder.settings.is_file() else None
    return (given if running is None else load(running, os.environ).settings), folder
