"""The ground, an undisturbed run, and a stage for each test; at the end the table of what was seen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_ground import Ground, prepared
from fault_laws import broken_laws, disturbed
from fault_matrix import MATRIX
from fault_stage import CI, Stage

from dolphin.errors import MissingDependency


@pytest.fixture(scope="session")
def ground(importable: None, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """Market, books and a forewarner, made once."""
    return prepared(tmp_path_factory.mktemp("ground"))


@pytest.fixture(scope="session")
def stage_of(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Stage]:
    """Brings a deployment up; skips without Java or jars."""

    def made(name: str, **given: object) -> Stage:
        try:
            return Stage(tmp_path_factory.mktemp("runs") / name, ground, **given)
        except MissingDependency as error:
            if "java" in str(error).lower() or "by Maven" in str(error):
                pytest.skip(str(error))
            raise

    return made


@pytest.fixture(scope="session")
def reference(stage_of: Callable[..., Stage]) -> Stage:
    """The same replay, undisturbed and to its end; all laws hold for it, and it trades."""
    stage = stage_of("reference")
    try:
        assert stage.wait(stage.ended, 420.0), "the replay did not end"
    finally:
        stage.close()
    assert (broken_laws(stage, None), disturbed(stage)) == ([], False)
    assert len(stage.trades()) > 20
    return stage


@pytest.fixture
def stage(request: pytest.FixtureRequest, reference: Stage, stage_of: Callable[..., Stage]) -> Iterator[Stage]:
    """A deployment of its own, settled: posture is up and the first signals are there. Mark ``stage(...)``: what ``Stage`` is given."""
    mark = request.node.get_closest_marker("stage")
    found = stage_of(request.node.name.removeprefix("test_")[:24], **(mark.kwargs if mark is not None else {}))
    try:
        assert found.wait(lambda: found.recovered() and found.bar() > 760, 120.0), "it did not settle"
        yield found
    finally:
        found.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MATRIX.rows:
        terminalreporter.section("fault matrix")
        terminalreporter.write_line(MATRIX.markdown())
        MATRIX.write(Path(os.environ.get("DOLPHIN_FAULTS_TABLE", CI.parent / "runs" / "faults.md")))
