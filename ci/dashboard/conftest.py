"""Stages and servers, closed at the end of each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from dashboard_stage import Served, Stage

WALL = 1_767_355_200_000
"""2026-01-02 12:00 UTC."""


@pytest.fixture
def stage(memory_folder: Path) -> Iterator[Stage]:
    """An empty deployment on a clock that stands."""
    made = Stage(memory_folder / "state", wall_ms=WALL)
    yield made
    made.close()


@pytest.fixture
def serve(memory_folder: Path) -> Iterator[Callable[..., Served]]:
    """Serves a deployment in which all is well but its supervisor, on the machine's clock."""
    with ExitStack() as opened:

        def make(*, empty: bool = False, **given: Any) -> Served:
            stage = Stage(memory_folder / "live")
            made = Served(stage if empty else stage.well(), **given)
            opened.callback(made.close)
            return made

        yield make
