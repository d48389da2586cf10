"""A world for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_worlds import World
from lane_worlds import deployed, replay_of, run_out, settings_of, write_market


@pytest.fixture
def world_of(memory_folder: Path) -> Iterator[Callable[..., World]]:
    """Makes worlds; their journals are closed at the end."""
    made: list[World] = []

    def make(**given: Any) -> World:
        made.append(World(memory_folder / f"world-{len(made)}", **given))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(world_of: Callable[..., World]) -> World:
    """A live deployment with the defaults."""
    return world_of()


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Klines: a day to warm up, then days of 160 and 140 bars."""
    return write_market(tmp_path_factory.mktemp("market"), 1440, 160, 140)


@pytest.fixture(scope="session")
def calm(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A replay of both short days by scanner and trader in which nothing went wrong, at its end. Read it, do not change it."""
    world = World(tmp_path_factory.mktemp("calm"), settings=settings_of(), replay=replay_of(market, "2025-01-02", "2025-01-03"))
    deployed(world)
    run_out(world)
    yield world
    world.close()
