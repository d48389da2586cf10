"""Fixtures of the tests of actors."""

from __future__ import annotations

import pytest
from actor_days import fills
from nautilus_trader.model.data import CustomData
from scripted_venue import World

import actors.backtest
from actors.backtest import VenueBacktest
from actors.config import DolphinActorConfig
from actors.dolphin_actor import DolphinActor


@pytest.fixture(params=["BLUE", "GREEN"])
def world(request: pytest.FixtureRequest) -> World:
    """Both lanes: nothing may depend on the direction."""
    return World(request.param).start()


@pytest.fixture
def run(monkeypatch):
    """A finished stream backtest. ``at``: what to do with the actor before a tick (1 = the first); ``again``: ticks to repeat after one."""

    def run(days, at=(), again=(), state=None, engine=None, grid=None, funding=None, postures=None, **config):
        original, made = VenueBacktest.__dict__["build"], []

        def chunks(delivery, rows):
            seen = []
            for chunk in deliver(delivery, rows):
                if type(chunk[0]) is CustomData:
                    seen.append(chunk)
                    if len(seen) in dict(at):
                        dict(at)[len(seen)](made[0].actor)
                yield chunk
                if type(chunk[0]) is CustomData:
                    for number in dict(again).get(len(seen), ()):
                        yield seen[number - 1]

        deliver = actors.backtest.Delivery.chunks
        with monkeypatch.context() as patch:
            patch.setattr(actors.backtest.Delivery, "chunks", chunks)
            patch.setattr(
                actors.backtest, "DolphinActor", lambda c, _, postures: DolphinActor(c, engine=engine, grid=grid, postures=postures)
            )
            made.append(original.__get__(None, VenueBacktest)(DolphinActorConfig(**config), days, funding, None, postures))
            if state is not None:
                made[0].actor.load(state)
            made[0].run()
        made[0].close()
        return made[0]

    return run


@pytest.fixture
def venue_fills(run, monkeypatch):
    """``run``, and the fills, read before the engine is disposed of."""

    def both(*args, **kwargs):
        kept = []
        with monkeypatch.context() as patch:
            close = VenueBacktest.close
            patch.setattr(VenueBacktest, "close", lambda built: (kept.append(fills(built)), close(built)))
            return run(*args, **kwargs), kept[0]

    return both
