"""Fixtures shared by every test: where the real data is, and kernels compiled once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import browser
import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real market data (``DOLPHIN_SHARED_DATA`` or ``../shared/data``); skips when it is absent."""
    folder = Path(os.environ.get("DOLPHIN_SHARED_DATA", CHECKOUT.parent / "shared" / "data"))
    if not (folder / "klines").is_dir():
        pytest.skip(f"real data folder {folder} is absent; set DOLPHIN_SHARED_DATA to where it is")
    return folder


@pytest.fixture
def memory_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: journals of a simulation need no disk to wait for."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(dir=memory, prefix="dolphin-test-") as folder:
        yield Path(folder)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a short path, for a supervisor's socket: the system allows about a hundred bytes, and ``tmp_path`` may use most."""
    with TemporaryDirectory(prefix="dolphin-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def importable() -> Iterator[None]:
    """Children of the tests import this checkout and the helpers beside the tests."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT / "ci"), str(CHECKOUT), *([before] if before else [])])
    yield
    os.environ.pop("PYTHONPATH")
    if before is not None:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for a file: while it is open its event loop runs in this thread, where another file's tests start their own."""
    with browser.launched() as running:
        yield running


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The fault matrix runs when it is asked for: ``-m faults``."""
    if "faults" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("faults")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("faults")]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write the golden run anew, on purpose")


@pytest.fixture(scope="session", autouse=True)
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests see no settings of the person who runs them, and keep their caches to themselves."""
    for name in [name for name in os.environ if name.startswith("DOLPHIN__")]:
        del os.environ[name]
    os.environ["DOLPHIN_LOOPBACK_ONLY"] = "1"  # no test, and no child of one, speaks to an exchange but one on this machine
    os.environ["DOLPHIN__PATHS__CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["DOLPHIN__PATHS__STATE"] = str(tmp_path_factory.mktemp("state"))
