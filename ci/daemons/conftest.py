"""A world for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_worlds import World


@pytest.fixture
def world_of(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes worlds; their journals are closed at the end."""
    made: list[World] = []

    def make(**given: Any) -> World:
        made.append(World(tmp_path / f"world-{len(made)}", **given))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(world_of: Callable[..., World]) -> World:
    """A live deployment with the defaults."""
    return world_of()
