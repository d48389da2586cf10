"""Grids under test: each implementation of the port."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dolphin.grid.embedded import EmbeddedGrid
from dolphin.grid.port import GridPort

TARGETS: dict[str, Callable[[], GridPort]] = {"embedded": EmbeddedGrid}


@pytest.fixture(params=TARGETS)
def grid(request: pytest.FixtureRequest) -> Iterator[GridPort]:
    """A grid with nothing in it."""
    grid = TARGETS[request.param]()
    yield grid
    grid.close()
